/**
 * What all socket engines share: the order of writes, the two ways to close, and that nothing a handler
 * throws, and nothing that comes late, gets further than one connection.
 *
 * An engine implements the four `start…`/`release` methods and reports by `readDone`, `readFailed`,
 * `writeDone` and `writeFailed`.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { Address } from "./address.ts";
import { handlerError } from "./io_error.ts";
import type { ConnectionTls, Socket, SocketHandler } from "./socket.ts";

/** Milliseconds that `close()` waits for what is pending, unless told otherwise. */
export const CLOSE_TIMEOUT = 5_000;

/** Who and what a connection is. */
export interface SocketFacts {
  readonly remote: Address;
  readonly local: Address;
  readonly tls: ConnectionTls | null;
  /** The proxy that named `remote` in a PROXY header. */
  readonly relay?: Address | undefined;
  /** Called once, when the engine has let go of the connection. */
  readonly onReleased?: (() => void) | undefined;
}

/** Until the owner sets its own: there is nobody to tell. */
const NO_HANDLER: SocketHandler = {
  readBuffer: () => new Uint8Array(1024),
  onRead: () => {},
  onDrain: () => {},
  onError: () => {},
};

/** A queue that nothing was put into yet. */
const NONE: Uint8Array[] = [];

/** A {@linkcode Socket} without the bytes. */
export abstract class BaseSocket implements Socket {
  handler: SocketHandler = NO_HANDLER;
  readonly remote: Address;
  readonly local: Address;
  readonly tls: ConnectionTls | null;
  readonly relay: Address | undefined;
  readonly #onReleased: (() => void) | undefined;
  #closed = false;
  #released = false;
  #reading = false;
  #ended = false;
  #writing = false;
  #finishing = false;
  #pending = 0;
  #queue: Uint8Array[] = NONE;
  #next = 0;
  #writeFault: ProxyError | null = null;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(facts: SocketFacts) {
    this.remote = facts.remote;
    this.local = facts.local;
    this.tls = facts.tls;
    this.relay = facts.relay;
    this.#onReleased = facts.onReleased;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get pending(): number {
    return this.#pending;
  }

  /** Whether a `read()` is outstanding. */
  protected get reading(): boolean {
    return this.#reading;
  }

  read(): void {
    if (this.#reading || this.#ended || this.#closed) return;
    this.#reading = true;
    try {
      this.startRead();
    } catch (error) {
      queueMicrotask(() => this.#break(handlerError(error)));
    }
  }

  write(bytes: Uint8Array, last: boolean = false): boolean {
    // Whoever writes to what is closed has been told, or has closed it: there is nothing to wait for.
    if (this.#closed || this.#finishing || this.#writeFault !== null) return true;
    const length = bytes.length;
    if (length === 0) return this.#pending === 0;
    if (this.#writing) {
      this.#pending += length;
      if (this.#queue === NONE) this.#queue = [];
      this.#queue.push(bytes);
      return false;
    }
    if (this.startWrite(bytes, last)) return true;
    this.#pending += length;
    this.#writing = true;
    return false;
  }

  closeWrite(): void {
    if (this.#closed || this.#finishing) return;
    this.#finishing = true;
    if (!this.#writing && this.#writeFault === null) this.startShutdown();
  }

  close(ms: number = CLOSE_TIMEOUT): void {
    if (this.#closed) return;
    this.#closed = true;
    const waits = this.#writing ? this.#writeFault === null : this.startFarewell();
    if (!waits) return this.#release();
    // One timer for a connection that ends, not per request, and cleared as soon as the kernel has taken the bytes.
    this.#closeTimer = setTimeout(() => this.#release(), ms);
  }

  destroy(): void {
    this.#closed = true;
    this.#release();
  }

  /** Begins one read. Never calls back at once. */
  protected abstract startRead(): void;

  /**
   * Writes `bytes`. Returns whether it is done; else reports later and is not called again until then.
   *
   * @param last Whether our direction may end with it, if it is done: `startShutdown` or `release` follows, or nothing.
   */
  protected abstract startWrite(bytes: Uint8Array, last: boolean): boolean;

  /** Ends our direction. Nothing is reported. */
  protected abstract startShutdown(): void;

  /** Lets go of the connection at once. Called once. */
  protected abstract release(): void;

  /** Begins saying what the protocol has to say before a close. Returns whether `farewellDone` will follow. */
  protected startFarewell(): boolean {
    return false;
  }

  /** What {@linkcode startFarewell} began is over. */
  protected farewellDone(): void {
    this.#release();
  }

  /** Reports `length` bytes in the handler's buffer, or with `0` the end. */
  protected readDone(length: number): void {
    this.#reading = false;
    if (this.#closed) return;
    if (length === 0) this.#ended = true;
    try {
      this.handler.onRead(length);
    } catch (error) {
      this.#break(handlerError(error));
    }
    // Whoever reads on at once gets all that arrived before the connection broke.
    if (this.#writeFault !== null && !this.#reading) this.#break(this.#writeFault);
  }

  /** Reports that reading is over because of `error`. */
  protected readFailed(error: ProxyError): void {
    this.#reading = false;
    // While closing, only what is still to be written counts.
    if (!this.#closed) this.#break(this.#writeFault ?? error);
  }

  /** Reports that `length` bytes, all that `startWrite` was last given, are with the kernel. */
  protected writeDone(length: number): void {
    if (this.#released) return;
    this.#pending -= length;
    while (this.#next < this.#queue.length) {
      const bytes = this.#queue[this.#next++]!;
      if (!this.startWrite(bytes, false)) return;
      this.#pending -= bytes.length;
    }
    this.#queue = NONE;
    this.#next = 0;
    this.#writing = false;
    if (this.#closed) {
      if (!this.startFarewell()) this.#release();
      return;
    }
    if (this.#finishing) this.startShutdown();
    try {
      this.handler.onDrain();
    } catch (error) {
      this.#break(handlerError(error));
    }
  }

  /** Reports that writing is over because of `error`. Never called from inside `startWrite`. */
  protected writeFailed(error: ProxyError): void {
    if (this.#released) return;
    this.#queue = NONE;
    this.#next = 0;
    this.#pending = 0;
    if (this.#closed) return this.#release();
    // An answer may have arrived before the other side broke the connection ("413" while we still send). A read
    // that is outstanding gets it, or fails by itself, so it goes first.
    if (this.#reading) this.#writeFault = error;
    else this.#break(error);
  }

  /** Something of the engine failed that is neither reading nor writing. */
  protected fail(error: ProxyError): void {
    this.#break(error);
  }

  #break(error: ProxyError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
    try {
      this.handler.onError(error);
    } catch {
      // The connection is gone and its owner failed twice: there is nobody left to tell.
    }
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#queue = NONE;
    this.#next = 0;
    this.#pending = 0;
    if (this.#closeTimer !== undefined) clearTimeout(this.#closeTimer);
    this.release();
    this.#onReleased?.();
  }
}
