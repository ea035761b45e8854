/**
 * A channel over a unix socket, to a sandbox that is a process.
 *
 * @module
 */
import { type Channel, Outbox } from "./channel.ts";
import { encodeFrame, FrameReader } from "./codec.ts";
import { ProtocolError } from "./protocol.ts";

/** What a sandbox may send in one frame: the largest reply, and room for its fields. */
export const MAX_FRAME_FROM_SANDBOX: number = 10 * 1024 * 1024;
/** What the core may send in one frame. It is trusted; the bound only catches a broken stream. */
export const MAX_FRAME_TO_SANDBOX: number = 1024 * 1024 * 1024;

/** The part of `Deno.Conn` that is used. */
export interface ByteConnection {
  read(into: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** A channel over a byte stream. */
export class SocketChannel implements Channel {
  onMessage: (message: unknown) => void = () => {};
  onClose: (reason: string, malformed: boolean) => void = () => {};
  onUnsent: (message: unknown[]) => void = () => {};
  readonly #connection: ByteConnection;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  #queue: Uint8Array[] = [];
  #backlog = 0;
  #writing = false;
  #open = true;

  /** @param most Bytes that one frame of the other side may have. */
  constructor(connection: ByteConnection, most: number) {
    this.#connection = connection;
    this.#reader = new FrameReader(most);
    this.#outbox = new Outbox((messages) => this.#send(messages));
  }

  get open(): boolean {
    return this.#open;
  }

  get backlog(): number {
    return this.#backlog;
  }

  /** Begins to read. To be called once `onMessage` and `onClose` are set. */
  start(): void {
    void this.#read();
  }

  post(message: unknown[], _move?: ArrayBuffer): void {
    if (this.#open) this.#outbox.push(message);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#queue = [];
    closeQuietly(this.#connection);
  }

  #fail(reason: string, malformed = false): void {
    if (!this.#open) return;
    this.close();
    this.onClose(reason, malformed);
  }

  async #read(): Promise<void> {
    while (this.#open) {
      let length: number | null;
      try {
        length = await this.#connection.read(this.#reader.room());
      } catch {
        return this.#fail("the connection broke");
      }
      if (length === null) return this.#fail("it closed the connection");
      this.#reader.filled(length);
      for (let message = this.#next(); message !== null; message = this.#next()) {
        this.onMessage(message);
      }
    }
  }

  /** The next whole message of what was read, or `null`. */
  #next(): unknown[] | null {
    if (!this.#open) return null;
    try {
      return this.#reader.next();
    } catch (error) {
      this.#fail(error instanceof ProtocolError ? error.message : "a frame is malformed", true);
      return null;
    }
  }

  #send(messages: unknown[][]): void {
    if (!this.#open) return;
    for (const message of messages) {
      let frame: Uint8Array;
      try {
        frame = encodeFrame(message);
      } catch {
        this.onUnsent(message);
        continue;
      }
      this.#backlog += frame.length;
      this.#queue.push(frame);
    }
    if (!this.#writing && this.#queue.length > 0) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#queue.length > 0) {
        const bytes = this.#queue.length === 1 ? this.#queue[0]! : join(this.#queue);
        this.#queue = [];
        for (let sent = 0; sent < bytes.length;) {
          const length = await this.#connection.write(bytes.subarray(sent));
          sent += length;
          this.#backlog -= length;
        }
      }
    } catch {
      this.#fail("the connection broke");
    }
    this.#writing = false;
  }
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  const whole = new Uint8Array(length);
  let position = 0;
  for (const piece of pieces) {
    whole.set(piece, position);
    position += piece.length;
  }
  return whole;
}

function closeQuietly(connection: ByteConnection): void {
  try {
    connection.close();
  } catch {
    // It was closed from the other side.
  }
}
