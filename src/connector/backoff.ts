/**
 * How long to wait before the next try: exponential, capped, with full jitter.
 *
 * Full jitter spreads those who failed together over the whole time, so that they do not come back together.
 *
 * @module
 */

/** How waits grow. Times are milliseconds. */
export interface BackoffOptions {
  /** Most that the first wait can be. Default 50. */
  readonly base?: number;
  /** Most that any wait can be. Default 10 000. */
  readonly cap?: number;
  /** What the bound grows by from wait to wait. Default 2. */
  readonly factor?: number;
  /** A number in [0, 1). Default: `Math.random`. */
  readonly random?: () => number;
}

/**
 * The most that the wait before retry `attempt` can be.
 *
 * @param attempt From 0: the wait after the first failure.
 * @throws {RangeError} If an option is out of its range.
 */
export function backoffBound(attempt: number, options: BackoffOptions = {}): number {
  const { base = 50, cap = 10_000, factor = 2 } = options;
  if (!(base >= 0 && cap >= 0 && factor >= 1) || !Number.isFinite(base + cap + factor)) {
    throw new RangeError("Backoff: base and cap must not be negative, nor factor less than 1");
  }
  // An exponent that is too high makes Infinity, which the cap takes care of; but 0 * Infinity would be no number.
  return base === 0 ? 0 : Math.min(cap, base * factor ** Math.max(0, attempt));
}

/**
 * The wait before retry `attempt`, in milliseconds: any time between none and {@linkcode backoffBound}.
 *
 * @param attempt From 0: the wait after the first failure.
 * @throws {RangeError} If an option is out of its range.
 */
export function backoffDelay(attempt: number, options: BackoffOptions = {}): number {
  return backoffBound(attempt, options) * (options.random ?? Math.random)();
}
