/**
 * The content of one stream as its reader sees it: pulled, counted, timed.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Fields } from "../http/fields.ts";
import { PROTOCOL_ERROR } from "./constants.ts";
import { Http2Error } from "./error.ts";
import { ReceiveQueue } from "./receive_queue.ts";

/** What a reader tells its stream. */
export interface ContentHost {
  readonly id: number;
  /** So many bytes were read or thrown away: they may come again. */
  onTaken(bytes: number): void;
}

const NONE = new Uint8Array(0);

/** Implements the reading half of a session. */
export class ContentReader {
  /** Bytes of content that are announced, or `-1`; more or fewer are malformed (RFC 9113 §8.1.1). */
  announced = -1;
  /** Most bytes to give out, `0` for no limit; crossing it is `body_too_large`. */
  limit = 0;
  /** Milliseconds that `readBody` waits for a piece; `0` is no limit. */
  timeout = 0;
  /** Bytes per second that content must come with while it is waited for, after a grace of `timeout`; `0` is off. */
  minRate = 0;
  /** The trailer section, once the content has ended. */
  trailers: Fields | null = null;
  /** Called when content did not come in time; says what that means. */
  onTimeout: (slow: boolean) => ProxyError = timedOut;
  readonly #host: ContentHost;
  readonly #wheel: TimerWheel;
  /** Made when there is content: most requests have none. */
  #queue: ReceiveQueue | null = null;
  #received = 0;
  #given = 0;
  #lent = 0;
  #ended = false;
  #dropped = false;
  #error: ProxyError | null = null;
  #waiting = false;
  #waitedFor = 0;
  #waitingSince = 0;
  #deadline: Deadline | null = null;
  #resolve: (piece: Uint8Array) => void = nothing;
  #reject: (error: unknown) => void = nothing;

  constructor(host: ContentHost, wheel: TimerWheel) {
    this.#host = host;
    this.#wheel = wheel;
  }

  /** Content bytes given out. */
  get bytes(): number {
    return this.#given;
  }

  /** Whether the other side has sent all of it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether all content was given out. */
  get done(): boolean {
    return this.#ended && this.#error === null && (this.#queue === null || this.#queue.size === 0);
  }

  /** Why no more content can be read, or `null`. */
  get error(): ProxyError | null {
    return this.#error;
  }

  /** Whether somebody waits for content. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /**
   * The next piece, good until the next call; empty only at the end.
   *
   * @throws {ProxyError} If it does not come, or is too much.
   */
  read(): Uint8Array | Promise<Uint8Array> {
    if (this.#waiting) throw new ProxyError("internal_error", "Content: read twice at a time");
    this.#giveBack();
    if (this.#error !== null) throw this.#error;
    if (this.limit !== 0 && this.announced > this.limit) throw this.#tooLarge();
    if (this.#queue !== null && this.#queue.size > 0) return this.#take(this.#queue);
    if (this.#ended) return NONE;
    this.#wait();
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /**
   * Takes what came in a DATA frame.
   *
   * @throws {Http2Error} If it is more than was announced.
   */
  push(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.#received += length;
    if (this.announced >= 0 && this.#received > this.announced) {
      throw malformed("more content than Content-Length says", this.#host.id);
    }
    if (this.#dropped || this.#error !== null) {
      this.#host.onTaken(length);
      return;
    }
    (this.#queue ??= new ReceiveQueue()).push(bytes, start, end);
    if (!this.#waiting) return;
    if (!this.#isFastEnough()) return this.fail(this.onTimeout(true));
    this.#serve();
  }

  /**
   * The content has ended.
   *
   * @throws {Http2Error} If it is less than was announced.
   */
  end(trailers: Fields | null): void {
    if (this.announced >= 0 && this.#received !== this.announced) {
      throw malformed("less content than Content-Length says", this.#host.id);
    }
    this.#ended = true;
    this.trailers = trailers;
    if (this.#waiting) this.#serve();
  }

  /** No more content can be read; what waits is thrown away. */
  fail(error: ProxyError): void {
    if (this.#error !== null || this.done) return;
    this.#error = error;
    this.#throwAway();
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#reject(error);
  }

  /** Nobody will read any more. */
  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#giveBack();
    this.#throwAway();
    if (this.#deadline !== null) this.#wheel.cancel(this.#deadline);
    if (this.#waiting) this.fail(new ProxyError("internal_error", "Content: read after its end"));
  }

  #serve(): void {
    this.#waiting = false;
    const resolve = this.#resolve;
    const reject = this.#reject;
    this.#resolve = this.#reject = nothing;
    let piece: Uint8Array;
    try {
      const queue = this.#queue;
      piece = queue !== null && queue.size > 0 ? this.#take(queue) : NONE;
    } catch (error) {
      return reject(error);
    }
    resolve(piece);
  }

  #take(queue: ReceiveQueue): Uint8Array {
    const piece = queue.take();
    this.#lent = piece.length;
    this.#given += piece.length;
    if (this.limit !== 0 && this.#given > this.limit) throw this.#tooLarge();
    return piece;
  }

  /** The window opens only now, so that what was taken and what may come never exceed it together. */
  #giveBack(): void {
    if (this.#lent === 0) return;
    const bytes = this.#lent;
    this.#lent = 0;
    this.#queue!.giveBack();
    this.#host.onTaken(bytes);
  }

  #throwAway(): void {
    const queue = this.#queue;
    if (queue === null) return;
    const bytes = queue.size;
    if (this.#lent === 0) queue.clear();
    else queue.discard();
    if (bytes > 0) this.#host.onTaken(bytes);
  }

  #wait(): void {
    this.#waiting = true;
    if (this.timeout === 0) return;
    this.#deadline ??= new Deadline(() => {
      // Left in the wheel when nobody waits: moving it later is cheaper than taking it out.
      if (this.#waiting && this.timeout > 0) this.fail(this.onTimeout(false));
    });
    this.#wheel.arm(this.#deadline, this.timeout);
    this.#waitingSince = this.#wheel.now;
  }

  /** Counts only the time spent waiting for the peer, not that in which nobody asked it for bytes. */
  #isFastEnough(): boolean {
    if (this.minRate === 0) return true;
    this.#waitedFor += this.#wheel.now - this.#waitingSince;
    const counted = this.#waitedFor - this.timeout;
    return counted <= 0 || this.#received * 1000 >= this.minRate * counted;
  }

  #tooLarge(): ProxyError {
    const error = new ProxyError(
      "body_too_large",
      `Content: more than ${this.limit} bytes`,
      { source: "downstream" },
    );
    this.#error ??= error;
    return error;
  }
}

function timedOut(): ProxyError {
  return new ProxyError("read_timeout", "Content: did not come in time");
}

function malformed(problem: string, stream: number): Http2Error {
  return new Http2Error(PROTOCOL_ERROR, `${problem} (RFC 9113 §8.1.1)`, stream);
}

function nothing(): void {}
