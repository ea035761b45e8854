/**
 * Two counts over a sliding window of time, in a fixed number of slices.
 *
 * No timer: slices that are over are emptied when somebody counts or asks.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";

const SLICES = 10;

/** Counts `first` and `second` things of the last while. A tenth of the window leaves at a time. */
export class SlidingCounts {
  readonly #clock: Clock;
  readonly #slice: number;
  readonly #firsts = new Float64Array(SLICES);
  readonly #seconds = new Float64Array(SLICES);
  #turn: number;
  #first = 0;
  #second = 0;

  /**
   * @param window Milliseconds.
   * @throws {RangeError} If the window is not longer than nothing.
   */
  constructor(window: number, clock: Clock) {
    if (!(window > 0)) {
      throw new RangeError(`Window of ${window} ms: it must be longer than nothing`);
    }
    this.#clock = clock;
    this.#slice = window / SLICES;
    this.#turn = this.#now();
  }

  /** Things of the first kind. */
  get first(): number {
    this.#advance();
    return this.#first;
  }

  /** Things of the second kind. */
  get second(): number {
    this.#advance();
    return this.#second;
  }

  /** Counts one of the first kind. */
  addFirst(): void {
    this.#advance();
    this.#firsts[this.#turn % SLICES]!++;
    this.#first++;
  }

  /** Counts one of the second kind. */
  addSecond(): void {
    this.#advance();
    this.#seconds[this.#turn % SLICES]!++;
    this.#second++;
  }

  /** Forgets all. */
  clear(): void {
    this.#firsts.fill(0);
    this.#seconds.fill(0);
    this.#first = 0;
    this.#second = 0;
  }

  #now(): number {
    return Math.floor(this.#clock.now() / this.#slice);
  }

  #advance(): void {
    const now = this.#now();
    if (now === this.#turn) return;
    if (now - this.#turn >= SLICES) {
      this.clear();
    } else {
      for (let turn = this.#turn + 1; turn <= now; turn++) {
        const at = turn % SLICES;
        this.#first -= this.#firsts[at]!;
        this.#second -= this.#seconds[at]!;
        this.#firsts[at] = 0;
        this.#seconds[at] = 0;
      }
    }
    this.#turn = now;
  }
}
