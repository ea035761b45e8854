/**
 * Frames the content of a message that is sent (RFC 9112 §6, §7.1).
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { Fields } from "../http/fields.ts";
import { dropForbiddenTrailers } from "../http/trailers.ts";
import { CR, LF } from "../http/grammar.ts";
import { GATHER_BYTES, type Output } from "./output.ts";

/** How content that is sent ends. */
export type SentFraming =
  /** There is none, and what is given as content is passed over: the answer to HEAD, 204, 304. */
  | "none"
  | "length"
  | "chunked"
  /** With the connection; also the bytes of a tunnel. */
  | "close";

const LAST_CHUNK = new Uint8Array([0x30, CR, LF, CR, LF]);

/** Writes the content of one message after the other. */
export class BodyWriter {
  /** Content bytes written. */
  bytes = 0;
  /** Whether the content is complete. */
  done = false;
  readonly #output: Output;
  #framing: SentFraming = "none";
  #left = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Whether a trailer section has a place behind the content. */
  get takesTrailers(): boolean {
    return this.#framing === "chunked";
  }

  /** Begins with the content of a message whose head was written. */
  begin(framing: SentFraming, length: number): void {
    this.#framing = framing;
    this.#left = length;
    this.bytes = 0;
    this.done = framing === "none" || (framing === "length" && length === 0);
  }

  /**
   * Writes a piece.
   *
   * @param last Whether the connection ends with the message. Default `false`.
   * @throws {ProxyError} `internal_error` if it is more, or at the end less, than was announced: none of it is
   * written then. What the output failed with, if it did.
   */
  write(bytes: Uint8Array, end: boolean, last: boolean = false): void | Promise<void> {
    const output = this.#output;
    if (this.#framing === "none") {
      if (end) output.flush(last);
      return output.settle();
    }
    if (this.done) {
      if (bytes.length > 0) throw tooMuch();
      output.flush(last);
      return output.settle();
    }
    if (this.#framing === "length") {
      if (bytes.length > this.#left) throw tooMuch();
      if (end && bytes.length < this.#left) {
        throw new ProxyError("internal_error", "Content: less than Content-Length announced");
      }
      this.#left -= bytes.length;
      end = this.#left === 0;
      output.put(bytes);
    } else if (this.#framing === "chunked") {
      if (bytes.length > 0) this.#writeChunk(bytes);
      if (end) output.put(LAST_CHUNK);
    } else {
      output.put(bytes);
    }
    this.bytes += bytes.length;
    if (end) {
      this.done = true;
      output.flush(last);
    }
    return output.settle();
  }

  /**
   * Ends the content, with a trailer section where the framing has a place for one.
   *
   * @param last Whether the connection ends with the message. Default `false`.
   */
  end(trailers: Fields | null, last: boolean = false): void | Promise<void> {
    if (trailers === null || this.#framing !== "chunked" || this.done) {
      return this.write(NONE, true, last);
    }
    dropForbiddenTrailers(trailers);
    if (trailers.size === 0) return this.write(NONE, true, last);
    const output = this.#output;
    output.reserve(trailers.byteLength + 5);
    const { bytes } = output;
    let position = output.length;
    bytes[position++] = 0x30;
    bytes[position++] = CR;
    bytes[position++] = LF;
    position = trailers.writeTo(bytes, position);
    bytes[position++] = CR;
    bytes[position++] = LF;
    output.length = position;
    this.done = true;
    output.flush(last);
    return output.settle();
  }

  #writeChunk(chunk: Uint8Array): void {
    const output = this.#output;
    const size = chunk.length;
    // Size line, data and CRLF in one go if they fit: one write instead of two.
    const fits = output.length + size + 24 <= GATHER_BYTES;
    output.reserve(fits ? size + 24 : 24);
    let { bytes } = output;
    let position = writeHex(bytes, output.length, size);
    bytes[position++] = CR;
    bytes[position++] = LF;
    output.length = position;
    output.put(chunk);
    output.reserve(2);
    bytes = output.bytes;
    position = output.length;
    bytes[position++] = CR;
    bytes[position++] = LF;
    output.length = position;
  }
}

const NONE = new Uint8Array(0);

function writeHex(out: Uint8Array, position: number, value: number): number {
  let shift = 28;
  while (shift > 0 && value >>> shift === 0) shift -= 4;
  for (; shift >= 0; shift -= 4) {
    const digit = value >>> shift & 15;
    out[position++] = digit < 10 ? 48 + digit : 87 + digit;
  }
  return position;
}

function tooMuch(): ProxyError {
  return new ProxyError("internal_error", "Content: more than Content-Length announced");
}
