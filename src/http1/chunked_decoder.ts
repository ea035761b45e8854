/**
 * Reads chunked content in place (RFC 9112 §7.1).
 *
 * Chunk data is moved together over the framing between it, so that many small chunks in one buffer come out
 * as one view. Strict: CRLF and nothing else ends a line, a size is hexadecimal digits and nothing else.
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../base/error.ts";
import type { Fields } from "../http/fields.ts";
import { dropForbiddenTrailers } from "../http/trailers.ts";
import {
  INCOMPLETE,
  parseFieldSection,
  type SectionRules,
  takeFields,
} from "./field_section_parser.ts";
import { CLASS, CR, HEX, HTAB, LF, SEMICOLON, SPACE, VALUE } from "../http/grammar.ts";
import type { ChunkLimits } from "./limits.ts";

const SIZE = 0;
const AFTER_SIZE = 1;
const EXTENSION = 2;
const SIZE_LF = 3;
const DATA = 4;
const DATA_CR = 5;
const DATA_LF = 6;
const TRAILERS = 7;
const DONE = 8;

/** Framing that may come beside content before it counts as an attack on our CPU: per chunk, and in all. */
const FREE_PER_CHUNK = 16;
const MAX_OVERHEAD = 64 * 1024;

/** Decodes one message after the other. */
export class ChunkedDecoder {
  /** Where the content found by `decode` starts. */
  from = 0;
  /** Where it ends. */
  to = 0;
  /** The trailer section, once `done`; `null` if it was empty. */
  trailers: Fields | null = null;
  readonly #limits: ChunkLimits;
  readonly #rules: SectionRules;
  #state = SIZE;
  #left = 0;
  #digits = 0;
  #lineLength = 0;
  #overhead = 0;
  #trailer: Uint8Array | null = null;
  #trailerLength = 0;
  #trailerLine = 0;

  /** @param malformed The error for what is malformed; `tooMany` for a trailer section that is too large. */
  constructor(limits: ChunkLimits, malformed: ErrorType, tooMany: ErrorType) {
    this.#limits = limits;
    this.#rules = { fields: limits.trailerFields, malformed, tooMany, what: "Trailers" };
  }

  /** Whether the last chunk and the trailer section were read. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /** Begins with new content. */
  reset(): void {
    this.#state = SIZE;
    this.#left = 0;
    this.#digits = 0;
    this.#lineLength = 0;
    this.#overhead = 0;
    this.#trailer = null;
    this.#trailerLength = 0;
    this.#trailerLine = 0;
    this.trailers = null;
  }

  /**
   * Reads `bytes[start, end)`. The content found is `bytes[from, to)` afterwards.
   *
   * @returns The position behind what was read; less than `end` only if `done`.
   * @throws {ProxyError} If the content is malformed or its framing too large.
   */
  decode(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    this.from = this.to = start;
    while (position < end) {
      const byte = bytes[position]!;
      switch (this.#state) {
        case DATA: {
          const length = Math.min(this.#left, end - position);
          if (this.from === this.to) this.from = this.to = position;
          else if (this.to !== position) bytes.copyWithin(this.to, position, position + length);
          this.to += length;
          position += length;
          this.#left -= length;
          if (this.#left === 0) this.#state = DATA_CR;
          continue;
        }
        case SIZE: {
          const digit = HEX[byte]!;
          if (digit >= 0) {
            this.#left = this.#left * 16 + digit;
            this.#digits++;
            if (this.#left > Number.MAX_SAFE_INTEGER) throw this.#malformed("a size over 2^53");
          } else if (this.#digits === 0) throw this.#malformed("a chunk without a size");
          else if (byte === CR) this.#state = SIZE_LF;
          else if (byte === SEMICOLON) this.#state = EXTENSION;
          // RFC 9112 §7.1.1: white space may come before an extension, and nowhere else.
          else if (byte === SPACE || byte === HTAB) this.#state = AFTER_SIZE;
          else throw this.#malformed(describe(byte, "in a chunk size"));
          this.#countLine();
          break;
        }
        case AFTER_SIZE:
          if (byte === SEMICOLON) this.#state = EXTENSION;
          else if (byte !== SPACE && byte !== HTAB) {
            throw this.#malformed("white space behind a chunk size");
          }
          this.#countLine();
          break;
        case EXTENSION:
          if (byte === CR) this.#state = SIZE_LF;
          else if ((CLASS[byte]! & VALUE) === 0) {
            throw this.#malformed(describe(byte, "in a chunk extension"));
          }
          this.#countLine();
          break;
        case SIZE_LF:
          if (byte !== LF) throw this.#malformed("bare CR in a chunk line");
          this.#beginData();
          break;
        case DATA_CR:
          if (byte !== CR) throw this.#malformed("chunk data is not followed by CRLF");
          this.#state = DATA_LF;
          break;
        case DATA_LF:
          if (byte !== LF) throw this.#malformed("chunk data is not followed by CRLF");
          this.#state = SIZE;
          this.#digits = 0;
          this.#lineLength = 0;
          break;
        case TRAILERS:
          this.#readTrailer(byte);
          break;
        default:
          return position;
      }
      position++;
    }
    return position;
  }

  #countLine(): void {
    // The CR is counted with the line, hence one more.
    if (++this.#lineLength > this.#limits.lineBytes + 1) {
      throw this.#malformed(`a chunk line over ${this.#limits.lineBytes} bytes`);
    }
  }

  #beginData(): void {
    if (this.#left === 0) {
      this.#state = TRAILERS;
      return;
    }
    // Tiny chunks with long extensions cost far more to read than they carry (as in CVE-2023-39326).
    const excess = this.#lineLength - FREE_PER_CHUNK - 2 * this.#left;
    this.#overhead = Math.max(0, this.#overhead + excess);
    if (this.#overhead > MAX_OVERHEAD) {
      throw this.#malformed("far more chunk extensions than content");
    }
    this.#state = DATA;
  }

  #readTrailer(byte: number): void {
    const length = this.#trailerLength;
    if (this.#trailer === null) {
      // Nearly always the section is empty: no buffer for that.
      if (byte === CR && length === 0) {
        this.#trailerLength = 1;
        return;
      }
      if (length === 1) {
        if (byte !== LF) throw this.#malformed("bare CR in the trailers");
        this.#state = DONE;
        return;
      }
      this.#trailer = new Uint8Array(256);
    }
    if (length >= this.#limits.trailerBytes) {
      throw new ProxyError(
        this.#rules.tooMany,
        `Trailers: more than ${this.#limits.trailerBytes} bytes`,
      );
    }
    if (length === this.#trailer.length) {
      const larger = new Uint8Array(length * 2);
      larger.set(this.#trailer);
      this.#trailer = larger;
    }
    this.#trailer[length] = byte;
    this.#trailerLength = length + 1;
    this.#trailerLine++;
    if (byte !== LF) return;
    if (length === 0 || this.#trailer[length - 1] !== CR) throw this.#malformed("bare LF");
    const isEmptyLine = this.#trailerLine === 2;
    this.#trailerLine = 0;
    if (!isEmptyLine) return;
    const end = parseFieldSection(this.#trailer, 0, this.#trailerLength, this.#rules);
    if (end === INCOMPLETE) throw this.#malformed("a trailer section that does not end");
    const trailers = takeFields(this.#trailer);
    dropForbiddenTrailers(trailers);
    if (trailers.size > 0) this.trailers = trailers;
    else trailers.release();
    this.#state = DONE;
  }

  #malformed(problem: string): ProxyError {
    return new ProxyError(this.#rules.malformed, `Chunked content: ${problem}`);
  }
}

function describe(byte: number, where: string): string {
  return byte === LF ? "bare LF" : `byte 0x${byte.toString(16).padStart(2, "0")} ${where}`;
}
