/**
 * CRC-32 (IEEE 802.3), which nginx and Pingora hash keys with, and a finisher that spreads its bits.
 *
 * @module
 */

const TABLE = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) === 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  TABLE[i] = c;
}

/** The state before the first byte. */
export const CRC32_START = -1;

/** Takes bytes into a state. */
export function crc32Bytes(state: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) state = TABLE[(state ^ bytes[i]!) & 255]! ^ (state >>> 8);
  return state;
}

/** Takes a 32-bit number into a state, its lowest byte first. */
export function crc32Word(state: number, word: number): number {
  state = TABLE[(state ^ word) & 255]! ^ (state >>> 8);
  state = TABLE[(state ^ (word >>> 8)) & 255]! ^ (state >>> 8);
  state = TABLE[(state ^ (word >>> 16)) & 255]! ^ (state >>> 8);
  return TABLE[(state ^ (word >>> 24)) & 255]! ^ (state >>> 8);
}

/** The checksum that a state stands for, 0 to 2^32 - 1. */
export function crc32End(state: number): number {
  return ~state >>> 0;
}

/**
 * The checksum of a string of the wire, 0 to 2^32 - 1. A character is the byte it was received as (latin-1); one over
 * U+00FF, which no field or target holds, counts as two bytes.
 */
export function crc32(text: string): number {
  let state = CRC32_START;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    state = TABLE[(state ^ code) & 255]! ^ (state >>> 8);
    if (code > 255) state = TABLE[(state ^ (code >>> 8)) & 255]! ^ (state >>> 8);
  }
  return ~state >>> 0;
}

/** Spreads every bit of a 32-bit number over all others; one to one. The finisher of MurmurHash3. */
export function mix32(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** What a 32-bit number is divided by to lie in `[0, 1)`. */
export const TWO_32 = 2 ** 32;
