/**
 * The sending side of a connection: gathers heads and small pieces, so that a small message is one write.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Socket } from "../transport/socket.ts";
import { giveBuffer, NO_BUFFER, takeBuffer } from "../base/buffer_pool.ts";

/** Most bytes gathered before they are sent. */
export const GATHER_BYTES = 64 * 1024;
/** A piece of this size is worth a write of its own when nothing is gathered before it. */
const DIRECT_BYTES = 8 * 1024;
const FIRST_BYTES = 4 * 1024;
/** Most bytes on their way to the kernel that nobody has to wait for. */
const FEW_BYTES = 16 * 1024;

/** Whose output it is, and how long a write of his may take. */
export interface OutputOwner {
  readonly wheel: TimerWheel;
  /** Milliseconds that a write may wait for the other side. */
  readonly writeTimeout: number;
  /** Bytes per second that the other side must take; `0` is off, else it replaces `writeTimeout`. */
  readonly minSendRate: number;
  /** Called when it took longer. */
  onWriteTimeout(): void;
}

/** What an array that nothing was put into yet stands for. */
const NONE: Uint8Array[] = [];

/** Gathers and writes bytes, and says when the other side is slower. */
export class Output {
  bytes: Uint8Array = NO_BUFFER;
  length = 0;
  readonly #socket: Socket;
  readonly #owner: OutputOwner;
  /** Made for the first write that waits. */
  #deadline: Deadline | null = null;
  #inFlight: Uint8Array[] = NONE;
  /** Whether bytes that are the caller's are on their way. */
  #lent = false;
  #waiting = false;
  #failure: ProxyError | null = null;
  #promise: Promise<void> | null = null;
  #resolve: () => void = nothing;
  #reject: (error: ProxyError) => void = nothing;

  constructor(socket: Socket, owner: OutputOwner) {
    this.#socket = socket;
    this.#owner = owner;
  }

  /** Whether bytes wait for the other side. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** Why nothing can be sent any more, or `null`. */
  get failure(): ProxyError | null {
    return this.#failure;
  }

  /** Makes room for `length` bytes behind `this.length`; the caller writes them and moves `length`. */
  reserve(length: number): void {
    if (this.length > 0 && this.length + length > GATHER_BYTES) this.flush();
    if (this.bytes.length - this.length >= length) return;
    const next = takeBuffer(Math.max(FIRST_BYTES, this.length + length));
    if (this.length > 0) next.set(this.bytes.subarray(0, this.length));
    giveBuffer(this.bytes);
    this.bytes = next;
  }

  /** Sends bytes that stay the caller's: copied if they are few, written from where they are if not. */
  put(bytes: Uint8Array): void {
    const length = bytes.length;
    if (length === 0) return;
    if (
      (this.length === 0 && length >= DIRECT_BYTES) || this.length + length > GATHER_BYTES
    ) {
      this.flush();
      if (length >= DIRECT_BYTES) {
        if (this.#failure === null && !this.#socket.write(bytes)) {
          this.#lent = true;
          this.#wait();
        }
        return;
      }
    }
    this.reserve(length);
    this.bytes.set(bytes, this.length);
    this.length += length;
  }

  /**
   * Writes what is gathered.
   *
   * @param last Whether the connection, or our direction of it, is to end when that is sent. Default `false`.
   */
  flush(last: boolean = false): void {
    const { bytes, length } = this;
    if (length === 0) return;
    this.bytes = NO_BUFFER;
    this.length = 0;
    if (this.#failure !== null) {
      giveBuffer(bytes);
    } else if (this.#socket.write(bytes.subarray(0, length), last)) {
      giveBuffer(bytes);
    } else {
      if (this.#inFlight === NONE) this.#inFlight = [];
      this.#inFlight.push(bytes);
      this.#wait();
    }
  }

  /**
   * Nothing if whoever writes can go on, else a promise of that. He can if all that was written is with the kernel, or
   * if only one small message is on its way there: some engines say of every write later that it is done.
   *
   * @throws {ProxyError} If the connection is gone.
   */
  settle(): void | Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (!this.#waiting) return;
    if (!this.#lent && this.#inFlight.length === 1 && this.#socket.pending <= FEW_BYTES) return;
    if (this.#promise === null) {
      this.#promise = new Promise((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      });
    }
    return this.#promise;
  }

  /** To be called by the socket's handler. */
  onDrain(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#lent = false;
    this.#cancel();
    if (this.#inFlight.length > 0) {
      for (const bytes of this.#inFlight) giveBuffer(bytes);
      this.#inFlight.length = 0;
    }
    if (this.#promise === null) return;
    const resolve = this.#resolve;
    this.#promise = null;
    this.#resolve = this.#reject = nothing;
    resolve();
  }

  /** Makes every write from here on fail, and whoever waits. */
  fail(error: ProxyError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#cancel();
    // What the engine still holds goes to the garbage collector, not back to the pool.
    this.#inFlight = NONE;
    giveBuffer(this.bytes);
    this.bytes = NO_BUFFER;
    this.length = 0;
    this.#waiting = false;
    const reject = this.#reject;
    // Who does not wait for it learns of the failure elsewhere; it must not end the process.
    this.#promise?.catch(nothing);
    this.#promise = null;
    this.#resolve = this.#reject = nothing;
    reject(error);
  }

  /** Lets go of everything when nobody can write any more. An error would cost its stack trace per connection. */
  dispose(): void {
    if (this.#failure !== null) return;
    if (this.#promise !== null) {
      return this.fail(new ProxyError("client_closed", "Connection: closed"));
    }
    this.#cancel();
    this.#inFlight = NONE;
    giveBuffer(this.bytes);
    this.bytes = NO_BUFFER;
    this.length = 0;
    this.#waiting = false;
  }

  #wait(): void {
    this.#waiting = true;
    const { minSendRate, writeTimeout, wheel } = this.#owner;
    const ms = minSendRate > 0
      ? Math.max(1000, this.#socket.pending / minSendRate * 1000)
      : writeTimeout;
    this.#deadline ??= new Deadline(() => this.#owner.onWriteTimeout());
    wheel.arm(this.#deadline, ms);
  }

  #cancel(): void {
    if (this.#deadline !== null) this.#owner.wheel.cancel(this.#deadline);
  }
}

function nothing(): void {}
