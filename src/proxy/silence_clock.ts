/**
 * The time that bytes may go both ways without an end: how long nobody may say anything, and how long it may last.
 *
 * @module
 */
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";

/** What came to its end. */
export type TimeOver = "silence" | "duration";

/** Bounds in milliseconds; `0`: none. */
export interface SilenceLimits {
  /** Between any two pieces, whichever way they go. */
  readonly silence: number;
  /** From the beginning on. */
  readonly duration: number;
}

/**
 * Tells when the time is over. A piece that passes costs one assignment: the deadline is moved when it comes round, and
 * not before.
 */
export class SilenceClock {
  readonly #wheel: TimerWheel;
  readonly #limits: SilenceLimits;
  readonly #onOver: (what: TimeOver) => void;
  readonly #silence: Deadline = new Deadline(() => this.#onSilence());
  readonly #duration: Deadline = new Deadline(() => this.#end("duration"));
  /** By the clock of the wheel, which is a tick behind at most. */
  #last: number;

  /**
   * Starts the clock.
   *
   * @param onOver Called at most once; the clock has stopped then.
   */
  constructor(wheel: TimerWheel, limits: SilenceLimits, onOver: (what: TimeOver) => void) {
    this.#wheel = wheel;
    this.#limits = limits;
    this.#onOver = onOver;
    if (limits.silence > 0) wheel.arm(this.#silence, limits.silence);
    if (limits.duration > 0) wheel.arm(this.#duration, limits.duration);
    this.#last = wheel.now;
  }

  /** A piece has passed. */
  touch(): void {
    this.#last = this.#wheel.now;
  }

  /** Nobody wants to know any more. */
  stop(): void {
    this.#wheel.cancel(this.#silence);
    this.#wheel.cancel(this.#duration);
  }

  #onSilence(): void {
    const left = this.#last + this.#limits.silence - this.#wheel.now;
    if (left > 0) this.#wheel.arm(this.#silence, left);
    else this.#end("silence");
  }

  #end(what: TimeOver): void {
    this.stop();
    this.#onOver(what);
  }
}
