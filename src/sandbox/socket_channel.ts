/**
 * A channel over a unix socket, to a sandbox that is a process.
 *
 * @module
 */
import { FrameChannel } from "./channel.ts";
import type { SnapshotDecoder } from "./codec.ts";
import { FrameReader } from "./frame_reader.ts";
import { FrameWriter } from "./frame_writer.ts";
import { ProtocolError } from "./protocol.ts";

/** The part of `Deno.Conn` that is used. */
export interface ByteConnection {
  read(into: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** A channel over a byte stream. */
export class SocketChannel extends FrameChannel {
  readonly #connection: ByteConnection;
  readonly #reader: FrameReader;
  /** What is being written; what comes meanwhile waits in `out`. */
  #writing: FrameWriter = new FrameWriter();
  #busy = false;

  /**
   * @param most Bytes that one frame of the other side may have.
   * @param snapshots As {@linkcode FrameReader} takes it.
   */
  constructor(
    connection: ByteConnection,
    most: number,
    snapshots: SnapshotDecoder | null = null,
  ) {
    super();
    this.#connection = connection;
    this.#reader = new FrameReader(most, snapshots);
  }

  get backlog(): number {
    return this.out.position + this.#writing.position;
  }

  /** Begins to read. To be called once `onMessage` and `onClose` are set. */
  start(): void {
    void this.#read();
  }

  protected override flush(): void {
    if (!this.#busy && this.out.position > 0) void this.#write();
  }

  protected override release(): void {
    closeQuietly(this.#connection);
  }

  async #read(): Promise<void> {
    while (this.open) {
      let length: number | null;
      try {
        length = await this.#connection.read(this.#reader.room());
      } catch {
        return this.fail("the connection broke", false);
      }
      if (length === null) return this.fail("it closed the connection", false);
      this.#reader.filled(length);
      for (let message = this.#next(); message !== null; message = this.#next()) {
        this.onMessage(message);
      }
    }
  }

  /** The next whole message of what was read, or `null`. */
  #next(): unknown[] | null {
    if (!this.open) return null;
    try {
      return this.#reader.next();
    } catch (error) {
      this.fail(error instanceof ProtocolError ? error.message : "a frame is malformed", true);
      return null;
    }
  }

  async #write(): Promise<void> {
    this.#busy = true;
    try {
      while (this.open && this.out.position > 0) {
        const out = this.out;
        this.out = this.#writing;
        this.#writing = out;
        const end = out.position;
        for (let sent = 0; sent < end;) {
          sent += await this.#connection.write(out.bytes.subarray(sent, end));
        }
        out.clear();
      }
    } catch {
      this.fail("the connection broke", false);
    }
    this.#busy = false;
  }
}

function closeQuietly(connection: ByteConnection): void {
  try {
    connection.close();
  } catch {
    // It was closed from the other side.
  }
}
