/**
 * Base64 (RFC 4648 §4) of content that comes in pieces.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LETTERS = Uint8Array.from(ALPHABET, (letter) => letter.charCodeAt(0));
const PAD = 61;
const NONE = 255;
const VALUES = new Uint8Array(256).fill(NONE);
for (let i = 0; i < 64; i++) VALUES[LETTERS[i]!] = i;

/** Decodes text whose padding may also come in the middle: several encoded texts, one after the other. */
export class Base64Decoder {
  #bits = 0;
  #letters = 0;
  /** `=` that still have to come before the next letter. */
  #pads = 0;

  /**
   * Decodes a piece of text.
   *
   * @param end Whether it is the last; the text must then be complete.
   * @throws {ProxyError} `invalid_request`, if it is not base64.
   */
  decode(text: Uint8Array, end: boolean): Uint8Array {
    // Up to three letters have come before.
    const out = new Uint8Array(Math.ceil((text.length + 3) / 4) * 3);
    let length = 0;
    for (let i = 0; i < text.length; i++) {
      const letter = text[i]!;
      if (this.#pads > 0 || letter === PAD) {
        if (letter !== PAD) throw invalid("goes on in the middle of its padding");
        length = this.#pad(out, length);
        continue;
      }
      const value = VALUES[letter]!;
      if (value === NONE) throw invalid("has a letter that is none of its own");
      this.#bits = this.#bits << 6 | value;
      if (++this.#letters < 4) continue;
      out[length++] = this.#bits >> 16 & 255;
      out[length++] = this.#bits >> 8 & 255;
      out[length++] = this.#bits & 255;
      this.#bits = this.#letters = 0;
    }
    if (end && (this.#letters > 0 || this.#pads > 0)) throw invalid("ends too early");
    return out.subarray(0, length);
  }

  #pad(out: Uint8Array, length: number): number {
    if (this.#pads > 0) {
      this.#pads--;
      return length;
    }
    const bits = this.#bits;
    // Bits that stand for no byte are zero in what a serializer makes (RFC 4648 §3.5).
    if (this.#letters === 2 && (bits & 15) === 0) {
      out[length++] = bits >> 4;
      this.#pads = 1;
    } else if (this.#letters === 3 && (bits & 3) === 0) {
      out[length++] = bits >> 10;
      out[length++] = bits >> 2 & 255;
    } else throw invalid("is padded where it may not be");
    this.#bits = this.#letters = 0;
    return length;
  }
}

/** Encodes bytes; what does not fill a group of letters is kept until more comes, or `flush` is asked for. */
export class Base64Encoder {
  #bits = 0;
  #bytes = 0;

  /** Most letters that {@linkcode encode} makes of so many bytes. */
  static most(bytes: number): number {
    return Math.ceil((bytes + 2) / 3) * 4;
  }

  /**
   * Encodes `bytes[from, to)` into `out` at `position`.
   *
   * @param flush Whether to end with padding, so that everything up to here can be decoded.
   * @returns The position behind it.
   */
  encode(
    bytes: Uint8Array,
    from: number,
    to: number,
    flush: boolean,
    out: Uint8Array,
    position: number,
  ): number {
    for (let i = from; i < to; i++) {
      this.#bits = this.#bits << 8 | bytes[i]!;
      if (++this.#bytes < 3) continue;
      position = this.#write(out, position, this.#bits, 4);
      this.#bits = this.#bytes = 0;
    }
    if (!flush || this.#bytes === 0) return position;
    const missing = 3 - this.#bytes;
    position = this.#write(out, position, this.#bits << 8 * missing, 4 - missing);
    for (let i = 0; i < missing; i++) out[position++] = PAD;
    this.#bits = this.#bytes = 0;
    return position;
  }

  #write(out: Uint8Array, position: number, bits: number, letters: number): number {
    for (let i = 0; i < letters; i++) out[position++] = LETTERS[bits >> (18 - 6 * i) & 63]!;
    return position;
  }
}

function invalid(problem: string): ProxyError {
  return new ProxyError("invalid_request", `Request content: the base64 text ${problem}`, {
    source: "downstream",
  });
}
