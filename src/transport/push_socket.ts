/**
 * A socket over a source that pushes: bytes come when they come, and only stopping the source stops them.
 *
 * The source is stopped only if a second piece arrives before the first was asked for. So what is held is
 * bounded by two pieces, and a reader that keeps up costs no stop and start at all.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import { BaseSocket } from "./base_socket.ts";
import { handlerError } from "./io_error.ts";

/** The pull side of {@linkcode BaseSocket} for engines that push. */
export abstract class PushSocket extends BaseSocket {
  #rest: Uint8Array | null = null;
  #stopped = false;
  #over = false;
  #fault: ProxyError | null = null;

  get readsAhead(): boolean {
    return true;
  }

  /** Whether something is there for the next `read()` already: bytes, the end or an error. */
  protected get holding(): boolean {
    return this.#rest !== null || this.#over || this.#fault !== null;
  }

  protected override startRead(): void {
    if (this.holding) {
      queueMicrotask(() => this.#deliver());
    } else if (this.#stopped) {
      this.#stopped = false;
      this.startSource();
    }
  }

  /** Makes the source push again. */
  protected abstract startSource(): void;

  /** Makes the source hold its peace; a piece that is already on its way may still come. */
  protected abstract stopSource(): void;

  /**
   * Takes a piece from the source.
   *
   * @param owned Whether the bytes stay as they are after the call.
   */
  protected arrived(bytes: Uint8Array, owned: boolean): void {
    if (this.closed || bytes.length === 0) return;
    if (this.reading && this.#rest === null) return this.#hand(bytes, owned);
    const rest = this.#rest;
    if (rest === null) this.#rest = owned ? bytes : bytes.slice();
    else {
      this.#rest = join(rest, bytes);
      this.spent(rest);
      if (owned) this.spent(bytes);
    }
    this.pause();
  }

  /** Stops the source until somebody asks for more. */
  protected pause(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.stopSource();
  }

  /** The source has come to its end. */
  protected arrivedEnd(): void {
    if (this.closed || this.#over) return;
    this.#over = true;
    if (this.reading && this.#rest === null) this.readDone(0);
  }

  /** The source has broken. Told when what came before it has been read, as the kernel does it. */
  protected arrivedError(error: ProxyError): void {
    if (this.closed || this.#over) return;
    this.#fault ??= error;
    if (this.reading && this.#rest === null) this.readFailed(this.#fault);
  }

  /** A piece that was `owned` has been copied to its end. */
  protected spent(_bytes: Uint8Array): void {}

  #deliver(): void {
    if (this.closed || !this.reading) return;
    const rest = this.#rest;
    if (rest === null) {
      if (this.#over) this.readDone(0);
      else if (this.#fault !== null) this.readFailed(this.#fault);
      return;
    }
    this.#rest = null;
    this.#hand(rest, true);
  }

  #hand(bytes: Uint8Array, owned: boolean): void {
    let length: number;
    try {
      const into = this.handler.readBuffer(bytes.length);
      length = Math.min(into.length, bytes.length);
      into.set(length === bytes.length ? bytes : bytes.subarray(0, length));
    } catch (error) {
      return this.fail(handlerError(error));
    }
    if (length < bytes.length) {
      this.#rest = owned ? bytes.subarray(length) : bytes.slice(length);
    } else if (owned) {
      this.spent(bytes);
    }
    this.readDone(length);
  }
}

function join(first: Uint8Array, second: Uint8Array): Uint8Array {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}
