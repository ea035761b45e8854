/**
 * The sending side of a connection: one buffer for all streams, written once per turn of the event loop.
 *
 * While the socket is busy everything is gathered, so the slower the peer, the larger the writes.
 *
 * @module
 */
import { giveBuffer, NO_BUFFER, takeBuffer } from "../base/buffer_pool.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import { young } from "../base/young.ts";
import type { Socket } from "../transport/socket.ts";

const FIRST_BYTES = 4 * 1024;

/** How a {@linkcode FrameOutput} behaves. */
export interface FrameOutputOptions {
  readonly wheel: TimerWheel;
  /** Bytes that may be gathered before {@linkcode FrameOutput.full}. */
  readonly bytes: number;
  /** Milliseconds that a write may wait for the other side. */
  readonly timeout: number;
  /** Bytes per second that the other side must take; `0` is off, else it replaces `timeout`. */
  readonly minRate: number;
  /** Called when it took longer. */
  readonly onTimeout: () => void;
  /** Called when the socket has taken all that it was given, be it at once or later. */
  readonly onRoom: () => void;
}

/** Gathers frames and writes them. */
export class FrameOutput {
  bytes: Uint8Array = NO_BUFFER;
  length = 0;
  readonly #socket: Socket;
  readonly #options: FrameOutputOptions;
  readonly #deadline: Deadline;
  #inFlight: Uint8Array = NO_BUFFER;
  #inFlightLength = 0;
  #timed = false;
  #scheduled = false;
  #closed = false;
  readonly #flushLater: () => void;

  constructor(socket: Socket, options: FrameOutputOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#deadline = new Deadline(() => {
      if (this.#timed) options.onTimeout();
    });
    this.#flushLater = young(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Whether content must wait: enough is gathered. */
  get full(): boolean {
    return this.length >= this.#options.bytes;
  }

  /** Bytes that are not yet with the kernel. */
  get pending(): number {
    return this.length + this.#inFlightLength;
  }

  /** Makes room for `length` bytes behind `this.length`; the caller writes them and moves `length`. */
  reserve(length: number): void {
    const needed = this.length + length;
    if (this.bytes.length >= needed) return;
    const next = takeBuffer(Math.max(FIRST_BYTES, needed, this.length === 0 ? 0 : needed * 2));
    if (this.length > 0) next.set(this.bytes.subarray(0, this.length));
    giveBuffer(this.bytes);
    this.bytes = next;
  }

  /** Has what is gathered written at the end of this turn, together with what the other streams have to say. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.#flushLater);
  }

  /** Writes what is gathered, unless an earlier write waits: then it goes with the next one. */
  flush(): void {
    if (this.length === 0 || this.#inFlightLength > 0 || this.#closed) return;
    const { bytes, length } = this;
    this.bytes = NO_BUFFER;
    this.length = 0;
    if (this.#socket.write(bytes.subarray(0, length))) {
      giveBuffer(bytes);
      // Nothing else will say so: who waited for room in this turn goes on in the next.
      this.#options.onRoom();
      return;
    }
    this.#inFlight = bytes;
    this.#inFlightLength = length;
    const { minRate, timeout, wheel } = this.#options;
    this.#timed = true;
    wheel.arm(this.#deadline, minRate > 0 ? Math.max(1000, length / minRate * 1000) : timeout);
  }

  /** To be called by the socket's handler. */
  onDrain(): void {
    if (this.#inFlightLength === 0 || this.#closed) return;
    giveBuffer(this.#inFlight);
    this.#inFlight = NO_BUFFER;
    this.#inFlightLength = 0;
    // Left in the wheel: moving it later is cheaper than taking it out.
    this.#timed = false;
    this.#options.onRoom();
    this.flush();
  }

  /** Drops what is gathered and writes no more. */
  close(): void {
    this.#closed = true;
    this.#timed = false;
    this.#options.wheel.cancel(this.#deadline);
    giveBuffer(this.bytes);
    // What the engine still holds goes to the garbage collector, not back to the pool.
    this.#inFlight = this.bytes = NO_BUFFER;
    this.#inFlightLength = this.length = 0;
  }
}
