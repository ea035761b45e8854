/**
 * Times and sizes as plugins write them, and guesses at what a wrong word should have been.
 *
 * @module
 */

const TIMES = new Map([["ms", 1], ["s", 1000], ["m", 60_000], ["h", 3_600_000], ["d", 86_400_000]]);
const SIZES = new Map([
  ["B", 1],
  ["KiB", 1024],
  ["MiB", 1024 ** 2],
  ["GiB", 1024 ** 3],
  ["KB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
]);

function measure(text: unknown, units: ReadonlyMap<string, number>): number | null {
  if (typeof text !== "string") return null;
  const match = /^(\d{1,12}(?:\.\d{1,6})?)([A-Za-z]{1,3})$/.exec(text);
  const unit = match === null ? undefined : units.get(match[2]!);
  if (unit === undefined) return null;
  const value = Number(match![1]) * unit;
  return value > 0 && Number.isFinite(value) ? value : null;
}

/** Milliseconds of `50ms`, `2s`, `1.5m`, `1h`; `null` if it is not a time above zero. */
export function readTime(text: unknown): number | null {
  return measure(text, TIMES);
}

/** Bytes of `512KiB`, `64MiB`, `1GiB`; `null` if it is not a size above zero. */
export function readSize(text: unknown): number | null {
  const bytes = measure(text, SIZES);
  return bytes === null ? null : Math.floor(bytes);
}

/** ` - did you mean "…"?` for the closest of the known words, or an empty string if none is close. */
export function didYouMean(word: string, known: Iterable<string>): string {
  let best = "";
  let least = Math.min(4, 1 + Math.floor(word.length / 3));
  for (const candidate of known) {
    const far = distance(word.toLowerCase(), candidate.toLowerCase(), least);
    if (far < least) {
      least = far;
      best = candidate;
    }
  }
  return best === "" ? "" : ` - did you mean "${best}"?`;
}

/** Edits between two words; at least `limit` if they are that far apart. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
