/**
 * Lists of response statuses, such as `200`, `"2xx"` and `"200-399"`.
 *
 * @module
 */

/** Statuses from `from` up to and with `to`. Plain data. */
export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

/** The statuses of success. */
export const SUCCESS: readonly StatusRange[] = [{ from: 200, to: 299 }];

/** The statuses that speak against an upstream. */
export const SERVER_ERRORS: readonly StatusRange[] = [{ from: 500, to: 599 }];

/**
 * Reads one entry of a list: a status, a class (`2xx`) or a range (`200-399`).
 *
 * @returns The range, or a sentence that says what is wrong.
 */
export function parseStatusRange(entry: string | number): StatusRange | string {
  const text = String(entry);
  const match = /^(?:([1-5])xx|(\d{3})(?:-(\d{3}))?)$/i.exec(text);
  if (match === null) return `${JSON.stringify(entry)} is not a status, 2xx or 200-399`;
  if (match[1] !== undefined) {
    const from = Number(match[1]) * 100;
    return { from, to: from + 99 };
  }
  const from = Number(match[2]);
  const to = match[3] === undefined ? from : Number(match[3]);
  if (from < 100 || to > 599) return `${text} is not within 100 to 599`;
  if (from > to) return `${text} begins after its end`;
  return { from, to };
}

/** Whether a status is in one of the ranges. */
export function inRanges(ranges: readonly StatusRange[], status: number): boolean {
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i]!;
    if (status >= range.from && status <= range.to) return true;
  }
  return false;
}

/** The list as people write it: `200-299, 301`. */
export function formatRanges(ranges: readonly StatusRange[]): string {
  return ranges.map(({ from, to }) => from === to ? `${from}` : `${from}-${to}`).join(", ");
}
