/**
 * Replaces byte strings in a stream of pieces, wherever the pieces were cut.
 *
 * At each place the first search that fits is taken, in the order they are listed; what was put in is not
 * searched again. The result does not depend on how the stream was cut, because a place is only decided when
 * as many bytes as the longest search has are there, or the end is.
 *
 * @module
 */

/** One search and what to put in its place. */
export interface Replacement {
  /** At least one byte. */
  readonly search: Uint8Array;
  readonly replace: Uint8Array;
}

/** A compiled set of replacements. */
export interface Replacer {
  /** Length of the longest search. */
  readonly longest: number;
  /** Whether a search begins with a byte. */
  readonly first: Uint8Array;
  readonly replacements: readonly Replacement[];
}

/** What became of one piece. */
export interface Replaced {
  /** To be passed on now. */
  readonly output: Uint8Array;
  /** To be put before the next piece; shorter than the longest search. Memory of its own. */
  readonly rest: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** Compiles replacements. */
export function makeReplacer(replacements: readonly Replacement[]): Replacer {
  const first = new Uint8Array(256);
  let longest = 0;
  for (const { search } of replacements) {
    first[search[0]!] = 1;
    longest = Math.max(longest, search.length);
  }
  return { longest, first, replacements };
}

/**
 * Replaces in one piece.
 *
 * @param rest What the former piece left.
 * @param end Whether this is the last piece.
 * @param limit Most bytes of output.
 * @throws {RangeError} If there is more output than `limit`.
 */
export function replaceIn(
  replacer: Replacer,
  rest: Uint8Array,
  piece: Uint8Array,
  end: boolean,
  limit: number,
): Replaced {
  const { first, longest } = replacer;
  const bytes = rest.length === 0 ? piece : joined([rest, piece], rest.length + piece.length);
  // From here on a search could run over the end of what is there.
  const decided = end ? bytes.length : bytes.length - longest + 1;
  const parts: Uint8Array[] = [];
  let length = 0;
  let copied = 0;
  let at = 0;
  const keep = (part: Uint8Array): void => {
    if (part.length === 0) return;
    length += part.length;
    if (length > limit) {
      throw new RangeError(`Cannot rewrite: one piece of content grew beyond ${limit} bytes`);
    }
    parts.push(part);
  };
  while (at < decided) {
    const found = first[bytes[at]!] === 1 ? findAt(replacer, bytes, at) : null;
    if (found === null) {
      at++;
      continue;
    }
    keep(bytes.subarray(copied, at));
    keep(found.replace);
    at += found.search.length;
    copied = at;
  }
  keep(bytes.subarray(copied, at));
  return { output: joined(parts, length), rest: at === bytes.length ? NOTHING : bytes.slice(at) };
}

function findAt(
  { replacements }: Replacer,
  bytes: Uint8Array,
  at: number,
): Replacement | null {
  for (const replacement of replacements) {
    const { search } = replacement;
    if (search.length > bytes.length - at) continue;
    let i = 1;
    while (i < search.length && bytes[at + i] === search[i]) i++;
    if (i === search.length && bytes[at] === search[0]) return replacement;
  }
  return null;
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
