/**
 * Where the data path takes the time from, so that tests can drive it.
 *
 * @module
 */

/** A monotonic clock in milliseconds. */
export interface Clock {
  /** Milliseconds since some fixed point; never goes back. */
  now(): number;
}

let time = 0;
let known = false;
const forget = () => {
  known = false;
};
const forgetNext = () => queueMicrotask(forget);

/**
 * The process clock, read once for each stretch of code that runs without a break, and the continuations that follow
 * it at once: asking it costs 150 ns, ten times as much as forgetting, and a request asks about ten times. What computes
 * for long and wants to know how long asks `performance.now()`.
 */
export const systemClock: Clock = {
  now() {
    if (known) return time;
    known = true;
    queueMicrotask(forgetNext);
    return time = performance.now();
  },
};

/** Asks the system for the time: `systemClock` has it from then on. For whoever measures what may have taken long. */
export function readClock(): number {
  time = performance.now();
  if (!known) {
    known = true;
    queueMicrotask(forgetNext);
  }
  return time;
}

/** A clock that moves only when told to. */
export class ManualClock implements Clock {
  #now = 0;

  now(): number {
    return this.#now;
  }

  /** Moves the clock forward by `ms` milliseconds. */
  advance(ms: number): void {
    this.#now += ms;
  }
}
