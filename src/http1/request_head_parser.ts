/**
 * Reads a request head in place: request line and field section (RFC 9112 §3, §5), by grammar alone.
 *
 * What the head means is the next step: see `request_rules.ts`.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { CLASS, CR, LF, PATH, QUERY, QUESTION, SPACE, TOKEN } from "../http/grammar.ts";
import type { Version } from "../http/message.ts";
import { methodOf } from "../http/method.ts";
import { INCOMPLETE, parseFieldSection, type SectionRules } from "./field_section_parser.ts";

/** What {@linkcode parseRequestHead} found besides the fields. Overwritten by the next call. */
export const line: {
  method: string;
  targetStart: number;
  targetEnd: number;
  version: Version;
} = { method: "", targetStart: 0, targetEnd: 0, version: 11 };

/** Bounds of a request head. */
export interface RequestRules extends SectionRules {
  /** Most bytes of the target. */
  readonly targetBytes: number;
}

/** Makes the rules for a parser from limits. */
export function requestRules(limits: { fields: number; targetBytes: number }): RequestRules {
  return {
    fields: limits.fields,
    targetBytes: limits.targetBytes,
    malformed: "invalid_request",
    tooMany: "too_many_fields",
    what: "Request head",
  };
}

/**
 * Reads a head from `start` to the empty line behind its fields.
 *
 * @returns The position behind the empty line, or {@linkcode INCOMPLETE}.
 * @throws {ProxyError} `invalid_request`, `target_too_long`, `version_not_supported` or `too_many_fields`.
 */
export function parseRequestHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  rules: RequestRules,
): number {
  let position = start;
  while (position < end && (CLASS[bytes[position]!]! & TOKEN) !== 0) position++;
  if (position >= end) return INCOMPLETE;
  if (bytes[position] !== SPACE || position === start) {
    throw malformed("it does not begin with a method and one space");
  }
  const methodEnd = position++;
  const targetStart = position;
  while (position < end && (CLASS[bytes[position]!]! & PATH) !== 0) position++;
  if (position < end && bytes[position] === QUESTION) {
    while (position < end && (CLASS[bytes[position]!]! & QUERY) !== 0) position++;
  }
  if (position - targetStart > rules.targetBytes) {
    throw new ProxyError(
      "target_too_long",
      `Request head: the target has more than ${rules.targetBytes} bytes`,
    );
  }
  if (position >= end) return INCOMPLETE;
  if (bytes[position] !== SPACE || position === targetStart) {
    throw badTarget(bytes[position]!, position === targetStart);
  }
  const targetEnd = position++;
  if (end - position < 10) return INCOMPLETE;
  line.version = readVersion(bytes, position);
  if (bytes[position + 8] !== CR || bytes[position + 9] !== LF) {
    throw malformed("the version is not followed by CRLF");
  }
  const headEnd = parseFieldSection(bytes, position + 10, end, rules);
  if (headEnd === INCOMPLETE) return INCOMPLETE;
  line.method = methodOf(bytes, start, methodEnd);
  line.targetStart = targetStart;
  line.targetEnd = targetEnd;
  return headEnd;
}

/** Reads `HTTP/1.x` (RFC 9112 §2.3). A minor version over 1 is one that 1.1 has to understand. */
function readVersion(bytes: Uint8Array, at: number): Version {
  const major = bytes[at + 5]! - 48;
  const minor = bytes[at + 7]! - 48;
  if (
    bytes[at] !== 72 || bytes[at + 1] !== 84 || bytes[at + 2] !== 84 || bytes[at + 3] !== 80 ||
    bytes[at + 4] !== 47 || bytes[at + 6] !== 46 || major < 0 || major > 9 || minor < 0 || minor > 9
  ) throw malformed("the version is not of the form HTTP/1.1");
  if (major !== 1) {
    throw new ProxyError(
      "version_not_supported",
      `Request head: version ${major}.${minor} is not spoken here`,
    );
  }
  return minor === 0 ? 10 : 11;
}

function malformed(problem: string): ProxyError {
  return new ProxyError("invalid_request", `Request head: ${problem}`);
}

function badTarget(byte: number, isEmpty: boolean): ProxyError {
  if (byte === LF) return malformed("bare LF");
  if (byte === CR) return malformed("the request line has no version");
  if (byte === SPACE && isEmpty) return malformed("two spaces behind the method");
  return malformed(`byte 0x${byte.toString(16).padStart(2, "0")} in the target`);
}
