/**
 * A raw connection for tests: bytes in, bytes out, every wait with a deadline, FIN and RST told apart.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type net from "node:net";
import { DEADLINE, withDeadline } from "./deadline.ts";

/** How a connection ended: by FIN, or by RST or another error. */
export type End = "fin" | "reset";

/** Text as latin-1 bytes: what stands on the wire. */
export function bytes(text: string): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** Bytes as latin-1 text. */
export function latin1(of: Uint8Array): string {
  // TextDecoder's latin1 is windows-1252.
  return Buffer.from(of.buffer, of.byteOffset, of.byteLength).toString("latin1");
}

/** One end of a connection. */
export class Wire implements AsyncDisposable {
  readonly socket: net.Socket;
  /** How the other side ended, or `null` while it has not. */
  ended: End | null = null;
  /** All bytes that have arrived, for as long as `record` is on. */
  readonly record: Uint8Array[] = [];
  /** Whether `record` is kept; turn it off for bulk. */
  recording = true;
  /** What has arrived and was not taken; put together only when somebody looks. */
  #pieces: Buffer[] = [];
  #size = 0;
  #wake: (() => void) | null = null;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("readable", () => this.#signal());
    socket.on("end", () => {
      this.ended ??= "fin";
      this.#signal();
    });
    socket.on("error", () => {
      this.ended = "reset";
      this.#signal();
    });
    socket.on("close", (failed) => {
      this.ended ??= failed ? "reset" : "fin";
      this.#signal();
    });
  }

  /** All bytes that have arrived, as latin-1 text. */
  get received(): string {
    return latin1(Buffer.concat(this.record));
  }

  /** Bytes that have arrived and were not taken yet. */
  get buffered(): Uint8Array {
    return this.#joined();
  }

  /** Sends bytes; resolves when they are with the kernel, and also when the connection is gone. */
  async send(data: string | Uint8Array, ms: number = DEADLINE): Promise<void> {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    let closed = () => {};
    const sent = new Promise<void>((resolve) => {
      closed = resolve;
      this.socket.once("close", closed);
      this.socket.write(typeof data === "string" ? bytes(data) : data, () => resolve());
    });
    try {
      await withDeadline(sent, ms, "the bytes to be sent");
    } finally {
      this.socket.off("close", closed);
    }
  }

  /** Sends bytes in pieces of `size`, each in a packet of its own as far as the system allows. */
  async sendSplit(data: string | Uint8Array, size: number = 1): Promise<void> {
    const all = typeof data === "string" ? bytes(data) : data;
    for (let at = 0; at < all.length; at += size) {
      await this.send(all.subarray(at, at + size));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ends our direction: FIN. */
  end(): void {
    this.socket.end();
  }

  /** Ends both directions at once. */
  close(): void {
    this.socket.destroy();
  }

  /** Breaks the connection: RST. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  /**
   * Waits for more bytes.
   *
   * @returns `false` if there will be none.
   * @throws {Error} If the deadline passes.
   */
  async fill(ms: number = DEADLINE, what: string = "bytes"): Promise<boolean> {
    const end = Date.now() + ms;
    for (;;) {
      const piece: Buffer | null = this.socket.read();
      if (piece !== null) {
        if (this.recording) this.record.push(piece);
        this.#pieces.push(piece);
        this.#size += piece.length;
        return true;
      }
      if (this.ended !== null) return false;
      const more = new Promise<void>((resolve) => this.#wake = resolve);
      await withDeadline(
        more,
        end - Date.now(),
        () => `${what}; buffered: ${JSON.stringify(latin1(this.#joined().subarray(0, 2000)))}`,
      );
    }
  }

  /** Takes the next `count` bytes. Throws if the connection ends before. */
  async take(count: number, ms: number = DEADLINE): Promise<Uint8Array> {
    while (this.#size < count) {
      if (!await this.fill(ms, `${count} bytes`)) {
        throw new Error(
          `The connection ended (${this.ended}) after ${this.#size} of ${count} bytes`,
        );
      }
    }
    return this.#cut(count);
  }

  /** Takes what is there, or waits for the next piece; empty at the end. */
  async takeSome(ms: number = DEADLINE): Promise<Uint8Array> {
    if (this.#size === 0 && !await this.fill(ms)) return new Uint8Array();
    return this.#cut(this.#size);
  }

  /** Takes everything up to and with `mark`. Throws if the connection ends before. */
  async takeUntil(mark: string, ms: number = DEADLINE): Promise<string> {
    let from = 0;
    for (;;) {
      const at = this.#joined().indexOf(mark, from, "latin1");
      if (at >= 0) return latin1(this.#cut(at + mark.length));
      from = Math.max(0, this.#size - mark.length);
      if (!await this.fill(ms, JSON.stringify(mark))) {
        throw new Error(
          `The connection ended (${this.ended}) before ${JSON.stringify(mark)}: ${
            JSON.stringify(latin1(this.#joined()))
          }`,
        );
      }
    }
  }

  /** Takes everything until the other side ends. */
  async takeRest(ms: number = DEADLINE): Promise<Uint8Array> {
    const end = Date.now() + ms;
    while (await this.fill(end - Date.now(), "the end of the connection"));
    return this.#cut(this.#size);
  }

  /** Waits until the other side has ended, dropping what comes before, and says how it ended. */
  async whenEnded(ms: number = DEADLINE): Promise<End> {
    const end = Date.now() + ms;
    while (await this.fill(end - Date.now(), "the end of the connection")) {
      this.#cut(this.#size);
    }
    return this.ended!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.closed) return;
    const closed = new Promise<void>((resolve) => this.socket.once("close", () => resolve()));
    this.socket.destroy();
    await withDeadline(closed, DEADLINE, "a socket to close");
  }

  #joined(): Buffer {
    if (this.#pieces.length !== 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0]!;
  }

  #cut(count: number): Uint8Array {
    const all = this.#joined();
    this.#pieces = [all.subarray(count)];
    this.#size -= count;
    return all.subarray(0, count);
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
