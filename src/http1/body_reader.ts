/**
 * Where the content of a message ends, and what of the received bytes is content (RFC 9112 §6.3).
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../base/error.ts";
import type { Fields } from "../http/fields.ts";
import {
  BODY_BUFFER,
  FIRST_BODY_BUFFER,
  LARGE_BODY_BUFFER,
  NO_BUFFER,
} from "../base/buffer_pool.ts";
import { ChunkedDecoder } from "./chunked_decoder.ts";
import type { InputBuffer } from "./input_buffer.ts";
import type { ChunkLimits } from "./limits.ts";

/** How content that is received ends. */
export type ContentFraming =
  /** There is none. */
  | "none"
  /** After a number of bytes. */
  | "length"
  | "chunked"
  /** With the connection; also the bytes of a tunnel. */
  | "close";

/** From here on content is read into larger buffers. */
const LARGE_AFTER = 1024 * 1024;

/** Takes the content of one message after the other out of an input buffer. */
export class BodyReader {
  /** Content bytes given out. */
  bytes = 0;
  /** Most content bytes to give out, `0` for no limit. */
  limit = 0;
  done = true;
  trailers: Fields | null = null;
  readonly #limits: ChunkLimits;
  readonly #malformed: ErrorType;
  readonly #tooMany: ErrorType;
  readonly #isTrusted: boolean;
  #framing: ContentFraming = "none";
  #left = 0;
  #ended = false;
  /** Size of the largest piece, halved with every smaller one. */
  #pace = 0;
  #decoder: ChunkedDecoder | null = null;

  /**
   * @param malformed The error for malformed chunks.
   * @param tooMany The error for trailers over a limit.
   * @param isTrusted Whether a large buffer may be taken before any content has come.
   */
  constructor(limits: ChunkLimits, malformed: ErrorType, tooMany: ErrorType, isTrusted: boolean) {
    this.#limits = limits;
    this.#isTrusted = isTrusted;
    this.#malformed = malformed;
    this.#tooMany = tooMany;
  }

  /** Bytes of content that are still to come, as far as they are announced; else `-1`. */
  get announced(): number {
    return this.done ? 0 : this.#framing === "length" ? this.#left : -1;
  }

  /** The size of the buffer to read the next bytes into: large for who fills it, small for who trickles. */
  get bufferSize(): number {
    if (this.#pace < FIRST_BODY_BUFFER / 2) return FIRST_BODY_BUFFER;
    return this.bytes >= LARGE_AFTER ? LARGE_BODY_BUFFER : BODY_BUFFER;
  }

  /** Most bytes to read: beyond an announced end there is nothing to look for. */
  get most(): number {
    return this.#framing === "length" ? this.#left : Infinity;
  }

  /** Begins with the content of a message. */
  begin(framing: ContentFraming, length: number, limit: number): void {
    this.#framing = framing;
    this.#left = length;
    this.bytes = 0;
    this.limit = limit;
    this.trailers = null;
    this.#ended = false;
    this.#pace = this.#isTrusted ? BODY_BUFFER : 0;
    this.done = framing === "none" || (framing === "length" && length === 0);
    if (framing === "chunked") {
      this.#decoder ??= new ChunkedDecoder(this.#limits, this.#malformed, this.#tooMany);
      this.#decoder.reset();
    }
  }

  /** Begins with the bytes of a tunnel. Most are idle most of the time: room is made when there is something to read. */
  beginTunnel(): void {
    this.begin("close", 0, 0);
    this.#pace = 0;
  }

  /**
   * The next piece of content as a view of the input buffer; `null` if more must be received first. Empty
   * only when the content has ended.
   *
   * @throws {ProxyError} If it is malformed, or `body_too_large`.
   */
  next(input: InputBuffer): Uint8Array | null {
    if (this.done) return NO_BUFFER;
    if (this.#framing === "length" && this.limit !== 0 && this.bytes + this.#left > this.limit) {
      throw this.#tooLarge();
    }
    if (input.size === 0) {
      if (!this.#ended || this.#framing !== "close") return null;
      this.done = true;
      return NO_BUFFER;
    }
    let from = input.start;
    let to = input.end;
    if (this.#framing === "chunked") {
      const decoder = this.#decoder!;
      input.start = decoder.decode(input.bytes, from, to);
      from = decoder.from;
      to = decoder.to;
      if (decoder.done) {
        this.done = true;
        this.trailers = decoder.trailers;
      }
      if (from === to) return this.done ? NO_BUFFER : null;
    } else {
      if (this.#framing === "length") {
        to = Math.min(to, from + this.#left);
        this.#left -= to - from;
        this.done = this.#left === 0;
      }
      input.start = to;
    }
    this.#pace = Math.max(this.#pace / 2, to - from);
    this.bytes += to - from;
    if (this.limit !== 0 && this.bytes > this.limit) throw this.#tooLarge();
    input.holdView();
    return input.bytes.subarray(from, to);
  }

  /** Takes note that no more bytes will come; says whether the content may end like that. */
  end(): boolean {
    this.#ended = true;
    return this.done || this.#framing === "close";
  }

  #tooLarge(): ProxyError {
    return new ProxyError("body_too_large", `Content: more than ${this.limit} bytes`);
  }
}
