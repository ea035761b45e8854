/**
 * When a plugin that died is started again, and when it is left alone.
 *
 * @module
 */

/** Bounds of {@linkcode RestartPolicy}. Times are milliseconds. */
export interface RestartOptions {
  /** Wait before the first restart; doubled with each crash. Default 1000. */
  readonly backoff?: number;
  /** Longest wait. Default 60 000. */
  readonly maxBackoff?: number;
  /** Crashes within `window` after which the breaker opens. Default 5. */
  readonly crashes?: number;
  /** Default 120 000. */
  readonly window?: number;
  /** How long an open breaker holds before one more attempt. Default 300 000. */
  readonly cooldown?: number;
}

/** What to do after a crash. */
export interface RestartDecision {
  /** Milliseconds to wait. */
  readonly delay: number;
  /** Whether the breaker is open. */
  readonly open: boolean;
}

/** Exponential backoff with a breaker. */
export class RestartPolicy {
  readonly #options: Required<RestartOptions>;
  #times: number[] = [];

  constructor(options: RestartOptions = {}) {
    this.#options = {
      backoff: options.backoff ?? 1000,
      maxBackoff: options.maxBackoff ?? 60_000,
      crashes: options.crashes ?? 5,
      window: options.window ?? 120_000,
      cooldown: options.cooldown ?? 300_000,
    };
  }

  /** Notes a crash at `now` and says what to do. */
  crashed(now: number): RestartDecision {
    const { backoff, maxBackoff, crashes, window, cooldown } = this.#options;
    this.#times = this.#times.filter((time) => now - time < window);
    this.#times.push(now);
    if (this.#times.length >= crashes) {
      // The attempt after the cooldown is on probation: one more crash opens the breaker again.
      this.#times = this.#times.slice(-crashes).map(() => now + cooldown);
      return { delay: cooldown, open: true };
    }
    return { delay: Math.min(maxBackoff, backoff * 2 ** (this.#times.length - 1)), open: false };
  }

  /** Forgets all crashes: somebody has replaced the plugin. */
  reset(): void {
    this.#times = [];
  }
}
