/**
 * A socket without a network: what the other side sends is fed by the test, what was written is kept.
 *
 * It can cut reads at any byte, ask for buffers early or late as engines may, hold writes back, and break.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { ProxyError } from "../../src/base/error.ts";
import type { Address } from "../../src/transport/address.ts";
import type { ConnectionTls, Socket, SocketHandler } from "../../src/transport/socket.ts";

/** How a {@linkcode MemorySocket} behaves. */
export interface MemorySocketOptions {
  /** Most bytes given per read. Default: what the buffer takes. */
  readonly readSize?: number;
  /** Whether the read buffer is asked for with `read()`, not when there are bytes. Default `false`. */
  readonly eager?: boolean;
  /** Whether asking is said to cost nothing. Default `false`. */
  readonly readsAhead?: boolean;
}

const ADDRESS: Address = { kind: "tcp", host: "192.0.2.1", port: 1234 };

/** The end of a connection that the code under test holds. */
export class MemorySocket implements Socket {
  handler!: SocketHandler;
  readonly remote: Address = ADDRESS;
  readonly local: Address = ADDRESS;
  readonly tls: ConnectionTls | null = null;
  readonly readsAhead: boolean;
  closed = false;
  pending = 0;
  /** Whether our direction was ended in order: by `closeWrite` or `close`. */
  finished = false;
  /** Whether a write was said to be the last. */
  endedByWrite = false;
  /** Whether `destroy` was called. */
  destroyed = false;
  /** How many writes there were. */
  writes = 0;
  /** How many reads were asked for. */
  reads = 0;
  /** While set, writes wait until `drain`. */
  stalled = false;
  readonly #options: MemorySocketOptions;
  readonly #incoming: Uint8Array[] = [];
  readonly #written: Uint8Array[] = [];
  readonly #waiting: Uint8Array[] = [];
  #ended = false;
  #endGiven = false;
  #asked = false;
  #buffer: Uint8Array | null = null;

  constructor(options: MemorySocketOptions = {}) {
    this.#options = options;
    this.readsAhead = options.readsAhead ?? false;
  }

  /** What the code under test wrote, as far as it was taken. */
  get sent(): Uint8Array {
    const length = this.#written.reduce((sum, piece) => sum + piece.length, 0);
    const all = new Uint8Array(length);
    let position = 0;
    for (const piece of this.#written) {
      all.set(piece, position);
      position += piece.length;
    }
    return all;
  }

  /** The same as latin-1 text. */
  get text(): string {
    let text = "";
    for (const byte of this.sent) text += String.fromCharCode(byte);
    return text;
  }

  /** Forgets what was written. */
  clear(): void {
    this.#written.length = 0;
    this.writes = 0;
  }

  /** Bytes fed and not yet read. */
  get unread(): number {
    return this.#incoming.reduce((sum, piece) => sum + piece.length, 0);
  }

  /** The other side sends something. */
  feed(data: string | Uint8Array): void {
    const bytes = typeof data === "string"
      ? Uint8Array.from(data, (c) => c.charCodeAt(0))
      : data.slice();
    if (bytes.length > 0) this.#incoming.push(bytes);
    this.#deliver();
  }

  /** The other side ends its direction. */
  feedEnd(): void {
    this.#ended = true;
    this.#deliver();
  }

  /** The connection breaks. */
  break(error: ProxyError): void {
    if (this.closed) return;
    this.closed = true;
    this.handler.onError(error);
  }

  /** The other side reads what waits. */
  drain(): void {
    this.stalled = false;
    if (this.#waiting.length === 0) return;
    // Copied only now: bytes that were changed in between would show.
    for (const bytes of this.#waiting) this.#written.push(bytes.slice());
    this.#waiting.length = 0;
    this.pending = 0;
    queueMicrotask(() => {
      if (!this.closed && this.pending === 0) this.handler.onDrain();
    });
  }

  read(): void {
    if (this.#asked || this.closed || this.#endGiven) return;
    this.#asked = true;
    this.reads++;
    if (this.#options.eager) {
      queueMicrotask(() => {
        if (this.closed) return;
        this.#buffer = this.handler.readBuffer();
        this.#deliver();
      });
    } else this.#deliver();
  }

  write(bytes: Uint8Array, last: boolean = false): boolean {
    if (this.closed) return true;
    if (this.endedByWrite) throw new Error("write() after the last one");
    this.endedByWrite = last;
    this.writes++;
    if (this.stalled || this.pending > 0) {
      this.#waiting.push(bytes);
      this.pending += bytes.length;
      return false;
    }
    this.#written.push(bytes.slice());
    return true;
  }

  closeWrite(): void {
    if (!this.closed) this.finished = true;
  }

  close(): void {
    if (!this.closed) this.finished = true;
    this.closed = true;
  }

  destroy(): void {
    this.closed = true;
    this.destroyed = true;
  }

  #deliver(): void {
    queueMicrotask(() => this.#deliverNow());
  }

  #deliverNow(): void {
    if (!this.#asked || this.closed) return;
    if (this.#options.eager && this.#buffer === null) return;
    const piece = this.#incoming[0];
    if (piece === undefined && !this.#ended) return;
    const buffer = this.#buffer ?? this.handler.readBuffer();
    if (buffer.length === 0) throw new Error("readBuffer() gave an empty buffer");
    this.#buffer = null;
    this.#asked = false;
    if (piece === undefined) {
      this.#endGiven = true;
      this.handler.onRead(0);
      return;
    }
    const length = Math.min(piece.length, buffer.length, this.#options.readSize ?? Infinity);
    buffer.set(piece.subarray(0, length));
    if (length === piece.length) this.#incoming.shift();
    else this.#incoming[0] = piece.subarray(length);
    this.handler.onRead(length);
  }
}

/** Resolves when everything that can happen without outside help has happened. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}
