/**
 * Takes request heads out of what was received, however it was cut.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { INCOMPLETE } from "./field_section_parser.ts";
import { CLASS, CR, LF, TOKEN } from "../http/grammar.ts";
import { HeadScanner } from "./head_scanner.ts";
import type { InputBuffer } from "./input_buffer.ts";
import type { DownstreamLimits } from "../http/limits.ts";
import { parseRequestHead, type RequestRules, requestRules } from "./request_head_parser.ts";
import { readRequest, type Request } from "./request_rules.ts";

/** By the limits that the connections of a listener share. */
const rules = new WeakMap<DownstreamLimits, RequestRules>();

function rulesOf(limits: DownstreamLimits): RequestRules {
  let found = rules.get(limits);
  if (found === undefined) rules.set(limits, found = requestRules(limits));
  return found;
}

/** Reads one request head after the other. */
export class RequestHeadReader {
  readonly #limit: number;
  readonly #rules: RequestRules;
  readonly #scanner: HeadScanner = new HeadScanner();
  #attempted = false;
  #skippedLine = false;

  constructor(limits: DownstreamLimits) {
    this.#limit = limits.headBytes;
    this.#rules = rulesOf(limits);
  }

  /** Begins with a new head. */
  reset(): void {
    this.#attempted = false;
    this.#skippedLine = false;
    this.#scanner.reset();
  }

  /**
   * The request whose head the input begins with, its bytes consumed and held; `null` if some are missing.
   *
   * @throws {ProxyError} If the head is malformed, too large or not allowed.
   */
  read(input: InputBuffer): Request | null {
    // RFC 9112 §2.2: one empty line before a request line is passed over.
    if (!this.#skippedLine && input.size > 0 && input.bytes[input.start] === CR) {
      if (input.size === 1) return null;
      if (input.bytes[input.start + 1] === LF) {
        input.consume(2);
        this.#skippedLine = true;
      }
    }
    if (input.size === 0) return null;
    const end = this.#parse(input.bytes, input.start, input.end);
    if (end === INCOMPLETE) return null;
    const request = readRequest(input.bytes);
    input.start = end;
    input.holdHead();
    return request;
  }

  /** Parses the head; see {@linkcode HeadScanner} for when its verdict counts. */
  #parse(bytes: Uint8Array, start: number, end: number): number {
    const limit = this.#limit;
    const until = Math.min(end, start + limit);
    if (!this.#attempted) {
      this.#attempted = true;
      let failure: unknown = null;
      try {
        const headEnd = parseRequestHead(bytes, start, until, this.#rules);
        if (headEnd !== INCOMPLETE) return headEnd;
      } catch (error) {
        failure = error;
      }
      // What is not HTTP at all (TLS on a clear-text port, say) is told so without waiting.
      if (failure !== null && (CLASS[bytes[start]!]! & TOKEN) === 0) throw failure;
    }
    if (!this.#scanner.isDecided(bytes, start, end, limit)) return INCOMPLETE;
    const headEnd = parseRequestHead(bytes, start, until, this.#rules);
    if (headEnd !== INCOMPLETE) return headEnd;
    throw end - start >= limit
      ? new ProxyError("head_too_large", `Request head: more than ${limit} bytes`)
      : new ProxyError("invalid_request", "Request head: a line ends too early");
  }
}
