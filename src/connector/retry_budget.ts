/**
 * How many requests may be tried again: a share of all, so that retries do not finish off an upstream that is ill.
 *
 * @module
 */
import { type Clock, systemClock } from "../base/clock.ts";
import { SlidingCounts } from "./sliding_counts.ts";

/** What a budget allows. */
export interface RetryBudgetOptions {
  /** Retries per request, over the window. Default 0.2; `0`: only the minimum. */
  readonly ratio?: number;
  /** Retries per second that are allowed however few requests there are, on average over the window. Default 3. */
  readonly minPerSecond?: number;
  /** Milliseconds that are looked back on. Default 10 000. */
  readonly window?: number;
  /** Default: the process clock. */
  readonly clock?: Clock;
}

/** A retry budget. One per upstream group and service worker. */
export class RetryBudget {
  readonly #ratio: number;
  readonly #minimum: number;
  /** Requests first, retries second. */
  readonly #counts: SlidingCounts;
  #refused = 0;

  /** @throws {RangeError} If an option is out of its range. */
  constructor(options: RetryBudgetOptions = {}) {
    const { ratio = 0.2, minPerSecond = 3, window = 10_000, clock = systemClock } = options;
    if (!(ratio >= 0 && minPerSecond >= 0)) {
      throw new RangeError("Retry budget: neither its ratio nor its minimum may be negative");
    }
    this.#ratio = ratio;
    this.#minimum = minPerSecond * window / 1000;
    this.#counts = new SlidingCounts(window, clock);
  }

  /** Retries that could be made now. */
  get left(): number {
    const allowed = this.#minimum + this.#ratio * this.#counts.first;
    // 0.1 * 30 is a little over 3, 0.29 * 100 a little under 29.
    return Math.max(0, Math.floor(allowed - this.#counts.second + 1e-9));
  }

  /** Retries refused so far. */
  get refused(): number {
    return this.#refused;
  }

  /** Counts a request. To be called once for each, with its first attempt. */
  request(): void {
    this.#counts.addFirst();
  }

  /** Takes one retry out of the budget. Returns whether there was one. */
  retry(): boolean {
    if (this.left < 1) {
      this.#refused++;
      return false;
    }
    this.#counts.addSecond();
    return true;
  }
}
