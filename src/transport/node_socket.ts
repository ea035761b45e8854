/**
 * A connection over node's `net.Socket`, plain or TLS: for what Deno's own sockets cannot do.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Socket as NetSocket } from "node:net";
import type { SocketFacts } from "./base_socket.ts";
import { readError, writeError } from "./io_error.ts";
import { PushSocket } from "./push_socket.ts";

/** Bytes from which on memory holds one piece, and is not node's pool for small ones, which has 8 KiB. */
const SURELY_ALONE = 16 * 1024;

/** The part of the native handle below a TLS handle that stops what it reads. */
interface NativeStream {
  readStart(): number;
  readStop(): number;
}

/** A socket over an established `net.Socket` or `tls.TLSSocket`, which must have been made with `allowHalfOpen`. */
export class NodeSocket extends PushSocket {
  readonly #socket: NetSocket;
  readonly #onWritten: (error?: Error | null) => void = (error) => this.#written(error);
  #length = 0;
  #writing = false;

  constructor(socket: NetSocket, facts: SocketFacts) {
    super(facts);
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.arrived(bytes, true));
    socket.on("end", () => this.arrivedEnd());
    socket.on("error", (error: Error) => this.#failed(error));
    // A socket that is destroyed without an error, by the runtime, gives neither "end" nor "error".
    socket.on("close", () => this.#failed(new Error("closed")));
  }

  protected override startSource(): void {
    carrier(this.#socket)?.readStart();
    this.#socket.resume();
  }

  protected override stopSource(): void {
    this.#socket.pause();
    // Pausing a TLS socket stops only what it gives out: the handle below goes on filling memory with all that
    // the other side sends. Stopping that one is what makes TCP push back.
    carrier(this.#socket)?.readStop();
  }

  protected override startWrite(bytes: Uint8Array): boolean {
    this.#length = bytes.length;
    this.#writing = true;
    this.#socket.write(bytes, this.#onWritten);
    return false;
  }

  protected override startShutdown(): void {
    this.#socket.end();
  }

  protected override startFarewell(): boolean {
    if (this.#socket.writableEnded || this.#socket.destroyed) return false;
    // TLS says goodbye before it leaves (RFC 8446 §6.1); without it a reader takes the end for a cut.
    this.#socket.end(() => this.farewellDone());
    return true;
  }

  protected override release(): void {
    this.#socket.destroy();
  }

  /**
   * Frees a large piece at once. The runtime makes one for each read, and the collector lets hundreds of MiB of them
   * gather before it looks, because they are no part of its heap.
   */
  protected override spent(bytes: Uint8Array): void {
    const { buffer } = bytes;
    if (buffer.byteLength < SURELY_ALONE || !(buffer instanceof ArrayBuffer)) return;
    // It may have been handed over in parts: this is the last one.
    if (bytes.byteOffset + bytes.length === buffer.byteLength) buffer.transfer(0);
  }

  #written(error?: Error | null): void {
    if (!this.#writing) return;
    this.#writing = false;
    if (error === undefined || error === null) this.writeDone(this.#length);
    else this.writeFailed(writeError(error));
  }

  #failed(error: Error): void {
    if (this.#writing) {
      this.#writing = false;
      this.writeFailed(writeError(error));
    }
    this.arrivedError(readError(error));
  }
}

/** The native handle that a TLS socket reads from; `undefined` for a plain socket, which stops by itself. */
export function carrier(socket: NetSocket): NativeStream | undefined {
  const handle = (socket as unknown as { _handle?: { _parent?: NativeStream } })._handle;
  const parent = handle?._parent;
  return typeof parent?.readStop === "function" && typeof parent.readStart === "function"
    ? parent
    : undefined;
}
