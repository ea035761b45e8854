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

/** The process clock. */
export const systemClock: Clock = { now: () => performance.now() };

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
