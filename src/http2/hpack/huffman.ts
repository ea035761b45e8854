/**
 * Huffman coding of HPACK strings (RFC 7541 §5.2).
 *
 * Decoding walks the code tree four bits at a time. No code is shorter than five bits, so that a step emits
 * at most one byte, and the whole tree is a table of 4096 numbers.
 *
 * @module
 */
import { CODE_LENGTHS, CODES, EOS } from "./huffman_table.ts";

/** Returned by {@linkcode decodeHuffman} for bytes that are not a Huffman string. */
export const BAD_HUFFMAN = -1;

const EMITS = 1 << 16;
const FAILS = 1 << 17;
const STATES = 256;

/** Index: state * 16 + nibble. Value: next state | byte << 8 | EMITS | FAILS. */
const STEPS = new Uint32Array(STATES * 16);
/** `1` for the states in which a string may end: less than eight bits, all ones, since the last byte. */
const MAY_END = new Uint8Array(STATES);

buildSteps();

function buildSteps(): void {
  // Inner nodes are numbers from 0, leaves are -1 - symbol.
  const children = new Int16Array(STATES * 2);
  let nodes = 1;
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = CODE_LENGTHS[symbol]! - 1; bit >= 0; bit--) {
      const at = node * 2 + (CODES[symbol]! >>> bit & 1);
      if (bit === 0) {
        children[at] = -1 - symbol;
      } else {
        if (children[at] === 0) children[at] = nodes++;
        node = children[at]!;
      }
    }
  }
  for (let state = 0; state < STATES; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let step = 0;
      for (let bit = 3; bit >= 0; bit--) {
        node = children[node * 2 + (nibble >>> bit & 1)]!;
        if (node >= 0) continue;
        const symbol = -1 - node;
        step = symbol === EOS ? FAILS : EMITS | symbol << 8;
        if (symbol === EOS) break;
        node = 0;
      }
      STEPS[state * 16 + nibble] = step === FAILS ? FAILS : step | node;
    }
  }
  let node = 0;
  for (let bits = 0; bits < 8; bits++) {
    MAY_END[node] = 1;
    node = children[node * 2 + 1]!;
  }
}

/** The most bytes that a Huffman string of `length` bytes can hold. */
export function decodedBound(length: number): number {
  return (length * 8 / 5 | 0) + 1;
}

/**
 * Decodes `bytes[start, end)` into `out`, which must have room for {@linkcode decodedBound} bytes.
 *
 * @returns The position behind what was written, or {@linkcode BAD_HUFFMAN} if the padding is longer than
 * seven bits or not all ones, or if EOS is in the string.
 */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  position: number,
): number {
  const steps = STEPS;
  let state = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    const high = steps[state * 16 + (byte >>> 4)]!;
    if ((high & EMITS) !== 0) out[position++] = high >>> 8;
    const low = steps[(high & 255) * 16 + (byte & 15)]!;
    if (((high | low) & FAILS) !== 0) return BAD_HUFFMAN;
    if ((low & EMITS) !== 0) out[position++] = low >>> 8;
    state = low & 255;
  }
  return MAY_END[state] === 1 ? position : BAD_HUFFMAN;
}

/** Length in bytes of `bytes[start, end)` after encoding. */
export function huffmanLength(bytes: Uint8Array, start: number, end: number): number {
  const lengths = CODE_LENGTHS;
  let bits = 0;
  for (let i = start; i < end; i++) bits += lengths[bytes[i]!]!;
  // Not a shift: the bits of a long value may be more than 32-bit numbers hold.
  return Math.ceil(bits / 8);
}

/** Encodes `bytes[start, end)` into `out`; returns the position behind it. */
export function encodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  position: number,
): number {
  const lengths = CODE_LENGTHS;
  const codes = CODES;
  let held = 0;
  let heldBits = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    let bits = lengths[byte]!;
    let code = codes[byte]!;
    // Seven bits may be held already, so that long codes go in two parts.
    if (bits > 24) {
      bits -= 16;
      held = held << bits | code >>> 16;
      heldBits += bits;
      while (heldBits >= 8) {
        heldBits -= 8;
        out[position++] = held >>> heldBits;
      }
      code &= 0xffff;
      bits = 16;
    }
    held = held << bits | code;
    heldBits += bits;
    while (heldBits >= 8) {
      heldBits -= 8;
      out[position++] = held >>> heldBits;
    }
  }
  if (heldBits > 0) out[position++] = held << (8 - heldBits) | (255 >>> heldBits);
  return position;
}
