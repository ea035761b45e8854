/**
 * The little of DER (X.690 §8, §10) that reading names out of a certificate needs.
 *
 * @module
 */

/** An element: its tag, and its content. */
export interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
}

export const BOOLEAN = 0x01;
export const OCTET_STRING = 0x04;
export const OBJECT_IDENTIFIER = 0x06;
export const SEQUENCE = 0x30;
export const SET = 0x31;

/**
 * The elements of a content, one after the other.
 *
 * @throws {RangeError} If it is not DER, or of a kind that certificates do not have.
 */
export function* elements(bytes: Uint8Array): Generator<Element> {
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at++]!;
    if ((tag & 0x1f) === 0x1f) throw new RangeError("a tag of several bytes");
    let length = bytes[at++];
    if (length === undefined) throw new RangeError("an element without a length");
    if (length > 0x7f) {
      const count = length & 0x7f;
      if (count === 0 || count > 3) throw new RangeError("a length that is not DER");
      length = 0;
      for (let i = 0; i < count; i++) length = length << 8 | (bytes[at++] ?? 0);
    }
    if (at + length > bytes.length) throw new RangeError("an element that is cut off");
    yield { tag, content: bytes.subarray(at, at + length) };
    at += length;
  }
}

/**
 * The elements in the one element that a content is.
 *
 * @throws {RangeError} If it is not one element of that tag.
 */
export function inside(bytes: Uint8Array, tag: number): Element[] {
  const [only, ...more] = elements(bytes);
  if (only?.tag !== tag || more.length > 0) {
    throw new RangeError("not the element that was expected");
  }
  return [...elements(only.content)];
}

/** An object identifier in dots: `2.5.4.3`. */
export function identifierText(content: Uint8Array): string {
  const parts: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    if (parts.length === 0) {
      const first = Math.min(2, Math.floor(value / 40));
      parts.push(first, value - first * 40);
    } else parts.push(value);
    value = 0;
  }
  return parts.join(".");
}
