/**
 * Times and sizes as people write them.
 *
 * @module
 */

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** The longest time that makes sense to wait here: a timer takes at most 2^31 - 1 milliseconds. */
const LONGEST = 2 ** 31 - 1;

/** What {@linkcode parseDuration} reads, for JSON Schema. */
export const DURATION_PATTERN = String.raw`^(0|\d+(\.\d+)?(ms|s|m|h|d))$`;

/** What {@linkcode parseSize} reads, for JSON Schema. */
export const SIZE_PATTERN = String.raw`^\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB)?$`;

/**
 * Reads `250ms`, `10s`, `5m`, `2h`, `1d` or `0`.
 *
 * @returns Milliseconds, or a sentence that says what is wrong.
 */
export function parseDuration(text: string): number | string {
  if (text === "0") return 0;
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text);
  if (match === null) return "expected a number and a unit";
  const unit = match[2]!;
  if (unit === "") return "the unit is missing: ms, s, m, h or d";
  const factor = Object.hasOwn(DURATION_UNITS, unit) ? DURATION_UNITS[unit]! : undefined;
  if (factor === undefined) return "the unit must be ms, s, m, h or d";
  const ms = Math.round(Number(match[1]) * factor * 1000) / 1000;
  if (ms > LONGEST) return "at most 24 days";
  if (!Number.isInteger(ms)) return "not a whole number of milliseconds";
  return ms;
}

/**
 * Reads `512`, `64KiB`, `1MB` and so on; `KB` is 1000 bytes, `KiB` 1024.
 *
 * @returns Bytes, or a sentence that says what is wrong.
 */
export function parseSize(text: string): number | string {
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text);
  if (match === null) return "expected a number and a unit";
  const unit = match[2] === "" ? "B" : match[2]!;
  const factor = Object.hasOwn(SIZE_UNITS, unit) ? SIZE_UNITS[unit]! : undefined;
  if (factor === undefined) return "the unit must be B, KB, MB, GB, KiB, MiB or GiB";
  const bytes = Math.round(Number(match[1]) * factor * 1000) / 1000;
  if (!Number.isInteger(bytes)) return "not a whole number of bytes";
  if (bytes > Number.MAX_SAFE_INTEGER) return "too large";
  return bytes;
}

/** What {@linkcode parsePercent} reads, for JSON Schema. */
export const PERCENT_PATTERN = String.raw`^\d{1,3}(\.\d{1,2})?%$`;

/**
 * Reads `20%` or `0.5%`.
 *
 * @returns The share, 0 to 1, or a sentence that says what is wrong.
 */
export function parsePercent(text: string): number | string {
  const match = /^(\d{1,3}(?:\.\d{1,2})?)(%?)$/.exec(text);
  if (match === null) return "expected a number with at most two decimals and %";
  if (match[2] === "") return "the percent sign is missing";
  const percent = Number(match[1]);
  return percent > 100 ? "at most 100%" : percent / 100;
}

/** The spelling that {@linkcode parsePercent} reads back as `share`. */
export function formatPercent(share: number): string {
  return `${Math.round(share * 10_000) / 100}%`;
}

/** The shortest spelling that {@linkcode parseDuration} reads back as `ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  for (const unit of ["d", "h", "m", "s"]) {
    const factor = DURATION_UNITS[unit]!;
    if (ms % factor !== 0) continue;
    // 60s and 90s read better than 1m and 1.5m.
    if (unit === "m" && ms < 120_000) continue;
    if (unit === "h" && ms < 7_200_000) continue;
    return `${ms / factor}${unit}`;
  }
  return `${ms}ms`;
}

/** The shortest spelling that {@linkcode parseSize} reads back as `bytes`. */
export function formatSize(bytes: number): string {
  for (const unit of ["GiB", "MiB", "KiB"]) {
    const factor = SIZE_UNITS[unit]!;
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}
