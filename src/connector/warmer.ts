/**
 * Keeps idle connections to a peer ready, one attempt at a time, ever more slowly while they fail.
 *
 * @module
 */
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import { backoffBound, backoffDelay, type BackoffOptions } from "./backoff.ts";

/** Most connections that are kept ready for one peer. */
export const MOST_WARM = 64;

/** What a {@linkcode Warmer} works with. */
export interface WarmerOptions {
  readonly wheel: TimerWheel;
  /** Whether another idle connection is wanted, and allowed. */
  wanted(): boolean;
  /** Makes one. */
  open(): Promise<void>;
  /** Default: from one second to one minute. */
  readonly backoff?: BackoffOptions;
}

const BACKOFF: BackoffOptions = { base: 1_000, cap: 60_000 };

/** Keeps one pool warm. */
export class Warmer {
  readonly #options: WarmerOptions;
  readonly #pause: Deadline = new Deadline(() => this.check());
  #opening = false;
  #failures = 0;
  #stopped = false;
  /** How many ask for it. */
  holders = 0;

  constructor(options: WarmerOptions) {
    this.#options = options;
  }

  /** To be called whenever an idle connection was taken or has gone. */
  check(): void {
    if (this.#opening || this.#stopped || this.#pause.armed || !this.#options.wanted()) return;
    this.#opening = true;
    this.#options.open().then(() => this.#opened(), () => this.#failed());
  }

  /** Makes no more. */
  stop(): void {
    this.#stopped = true;
    this.#options.wheel.cancel(this.#pause);
  }

  #opened(): void {
    this.#opening = false;
    this.#failures = 0;
    this.check();
  }

  #failed(): void {
    this.#opening = false;
    if (this.#stopped) return;
    const { wheel, backoff = BACKOFF } = this.#options;
    const attempt = this.#failures++;
    // Half of it is waited for in any case: a peer that refuses at once must not be asked at once again.
    wheel.arm(this.#pause, (backoffBound(attempt, backoff) + backoffDelay(attempt, backoff)) / 2);
  }
}
