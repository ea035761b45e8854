/**
 * A connection whose other end the bench is.
 *
 * @module
 */
import type { Address } from "../../src/transport/address.ts";
import type { Socket, SocketHandler } from "../../src/transport/socket.ts";

/** Nobody listens there. */
export const ADDRESS: Address = { kind: "tcp", host: "127.0.0.1", port: 1 };

/** Takes every write at once, and is read from only when something is delivered. */
export class MemorySocket implements Socket {
  handler!: SocketHandler;
  readonly remote = ADDRESS;
  readonly local = ADDRESS;
  readonly tls = null;
  closed = false;
  readonly pending = 0;
  readonly #onWrite: (bytes: Uint8Array) => void;
  #reading = false;

  /** @param onWrite Called with what is written, which is good for the call. */
  constructor(onWrite: (bytes: Uint8Array) => void) {
    this.#onWrite = onWrite;
  }

  read(): void {
    this.#reading = true;
  }

  write(bytes: Uint8Array): boolean {
    this.#onWrite(bytes);
    return true;
  }

  closeWrite(): void {}

  close(): void {
    this.closed = true;
  }

  destroy(): void {
    this.closed = true;
  }

  /** Has the proxy read bytes, in as many pieces as its buffers ask for. */
  deliver(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (!this.#reading) throw new Error("Nobody reads: the request before is not over");
      this.#reading = false;
      const into = this.handler.readBuffer();
      const length = Math.min(into.length, bytes.length - at);
      into.set(at === 0 && length === bytes.length ? bytes : bytes.subarray(at, at + length));
      at += length;
      this.handler.onRead(length);
    }
  }
}
