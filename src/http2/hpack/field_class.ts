/**
 * Which byte may stand where in a field of HTTP/2 (RFC 9113 §8.2.1).
 *
 * Stricter than its minimum: a name is a token without upper case, and a value holds no control character but
 * HTAB, so that whatever passes is one field in an HTTP/1 head too.
 *
 * @module
 */

/** May stand in a name. */
export const NAME = 1;
/** May stand in a value. */
export const VALUE = 2;

/** The classes of every byte, as bits. */
export const CLASS: Uint8Array = new Uint8Array(256);

for (const c of "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") {
  CLASS[c.charCodeAt(0)] = NAME;
}
CLASS[9] = VALUE;
for (let c = 0x20; c < 256; c++) if (c !== 0x7f) CLASS[c]! |= VALUE;

/** Whether `bytes[start, end)` is a lower-case field name. */
export function isName(bytes: Uint8Array, start: number, end: number): boolean {
  let all = end > start ? NAME : 0;
  for (let i = start; i < end; i++) all &= CLASS[bytes[i]!]!;
  return all !== 0;
}

/** Whether `bytes[start, end)` is a field value: allowed bytes, no white space at either end. */
export function isValue(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end) return true;
  let all = VALUE;
  for (let i = start; i < end; i++) all &= CLASS[bytes[i]!]!;
  const first = bytes[start]!;
  const last = bytes[end - 1]!;
  return all !== 0 && first !== 32 && first !== 9 && last !== 32 && last !== 9;
}
