/**
 * What a row of measurements says, and how surely.
 *
 * @module
 */

/** A median with the interval that holds it with 95 % confidence. */
export interface Estimate {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** The middle of the values; of an even number of them the upper one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

const RESAMPLES = 2_000;

/**
 * The median of some values and its bootstrap interval.
 *
 * @param random Numbers in `[0, 1)`.
 */
export function estimate(
  values: readonly number[],
  random: () => number = Math.random,
): Estimate {
  const medians = Array.from(
    { length: RESAMPLES },
    () => median(values.map(() => values[Math.floor(random() * values.length)]!)),
  ).sort((a, b) => a - b);
  return {
    median: median(values),
    low: medians[Math.floor(RESAMPLES * 0.025)]!,
    high: medians[Math.floor(RESAMPLES * 0.975)]!,
  };
}
