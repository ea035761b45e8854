/**
 * Which group of upstreams a request belongs to. Pure.
 *
 * @module
 */

/** An upstream group and its share. */
export interface Share {
  readonly upstream: string;
  readonly weight: number;
}

/**
 * The group that a point falls into, when the groups lie side by side in the order they are listed in, each as
 * wide as its weight. A group that grows takes only from its neighbours, so most clients stay where they are.
 *
 * @param point At least 0 and less than 1.
 * @returns `null` if no group has a weight.
 */
export function pickShare(shares: readonly Share[], point: number): string | null {
  let total = 0;
  for (const { weight } of shares) total += weight;
  let left = point * total;
  let last: string | null = null;
  for (const { upstream, weight } of shares) {
    if (weight === 0) continue;
    last = upstream;
    if (left < weight) return upstream;
    left -= weight;
  }
  return last;
}

/** Maps a text to a point from 0 to 1, evenly, the same for the same text. */
export function pointOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ (text.charCodeAt(i) & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (text.charCodeAt(i) >>> 8), 0x01000193);
  }
  // FNV leaves addresses that differ in their last digit close together; the finaliser of MurmurHash3 does not.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * The value of a cookie (RFC 6265 §4.2.1).
 *
 * @param field The `Cookie` field, or `null`.
 * @returns `null` if there is none of that name. Of several, the first.
 */
export function cookieValue(field: string | null, name: string): string | null {
  if (field === null) return null;
  // Several lines of the field are joined by commas, which no cookie that we set holds.
  for (const pair of field.split(/[;,]/)) {
    const equals = pair.indexOf("=");
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return null;
}
