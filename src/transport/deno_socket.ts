/**
 * A connection over `Deno.Conn`: TCP, a unix socket, or Deno's own TLS. The default engine.
 *
 * @module
 */
import { type Address, unmapIpv4 } from "./address.ts";
import { BaseSocket, type SocketFacts } from "./base_socket.ts";
import { handlerError, readError, writeError } from "./io_error.ts";
import { unixName } from "./unix_path.ts";

const NOTHING: Uint8Array = new Uint8Array(0);

/** What a Deno connection offers that this engine uses. */
export type DenoConnection = Pick<Deno.Conn<Deno.Addr>, "read" | "write" | "close" | "closeWrite">;

/** A socket that reads and writes by Deno's async ops, one of each at a time. */
export class DenoSocket extends BaseSocket {
  readonly #connection: DenoConnection;
  /** What is being written, and how much of it is done. */
  #bytes: Uint8Array = NOTHING;
  #offset = 0;
  /** What was read before the socket was made, and is still to be given out. */
  #early: Uint8Array;
  // Made once: a closure per read or write would cost more than the read.
  readonly #onRead = (length: number | null): void => this.readDone(length ?? 0);
  readonly #onReadError = (error: unknown): void => this.readFailed(readError(error));
  readonly #onWrite = (length: number): void => this.#written(length);
  readonly #onWriteError = (error: unknown): void => this.writeFailed(writeError(error));

  /** @param early What was read from the connection already; it is read first. */
  constructor(connection: DenoConnection, facts: SocketFacts, early: Uint8Array = NOTHING) {
    super(facts);
    this.#connection = connection;
    this.#early = early;
  }

  protected override startRead(): void {
    if (this.#early.length > 0) {
      queueMicrotask(() => this.#giveEarly());
      return;
    }
    this.#connection.read(this.handler.readBuffer()).then(this.#onRead, this.#onReadError);
  }

  protected override startWrite(bytes: Uint8Array): boolean {
    this.#bytes = bytes;
    this.#offset = 0;
    this.#connection.write(bytes).then(this.#onWrite, this.#onWriteError);
    return false;
  }

  protected override startShutdown(): void {
    // A connection that is already broken cannot be shut down; the read that is or will be outstanding tells.
    this.#connection.closeWrite().catch(() => {});
  }

  protected override release(): void {
    this.#bytes = NOTHING;
    try {
      this.#connection.close();
    } catch {
      // Closed by the runtime already.
    }
  }

  #giveEarly(): void {
    // It was released meanwhile.
    if (this.closed) return;
    let length: number;
    try {
      const into = this.handler.readBuffer();
      length = Math.min(into.length, this.#early.length);
      into.set(this.#early.subarray(0, length));
    } catch (error) {
      return this.fail(handlerError(error));
    }
    this.#early = this.#early.subarray(length);
    this.readDone(length);
  }

  #written(length: number): void {
    const bytes = this.#bytes;
    this.#offset += length;
    // Released while the write was on its way.
    if (bytes === NOTHING) return;
    if (this.#offset < bytes.length) {
      this.#connection.write(bytes.subarray(this.#offset)).then(this.#onWrite, this.#onWriteError);
      return;
    }
    this.#bytes = NOTHING;
    this.writeDone(bytes.length);
  }
}

/** Turns an address of Deno's into ours. A peer on a unix socket has no path. */
export function addressOf(address: Deno.Addr): Address {
  if (address.transport === "tcp" || address.transport === "udp") {
    return { kind: "tcp", host: unmapIpv4(address.hostname), port: address.port };
  }
  return { kind: "unix", path: "path" in address ? unixName(address.path ?? "") : "" };
}
