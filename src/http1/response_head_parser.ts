/**
 * Reads a response head in place (RFC 9112 §4, §5) and says what it means for content and connection.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE } from "../http/field_names.ts";
import { latin1 } from "../http/fields.ts";
import { contentLengthAt, readTransferEncoding } from "../http/framing.ts";
import { OPTION_CLOSE, OPTION_KEEP_ALIVE, stripHopByHop, TO_STRIP } from "../http/hop_by_hop.ts";
import { hasNoContent, ResponseHead, type Version } from "../http/message.ts";
import { reasonPhrase } from "../http/reason.ts";
import {
  INCOMPLETE,
  parseFieldSection,
  section,
  type SectionRules,
  takeFields,
  valueEndOf,
  valueStartOf,
} from "./field_section_parser.ts";
import { CLASS, CR, LF, SPACE, VALUE } from "../http/grammar.ts";

const status: { code: number; version: Version; reasonStart: number; reasonEnd: number } = {
  code: 0,
  version: 11,
  reasonStart: 0,
  reasonEnd: 0,
};

/** A response head with what it says of its content and its connection. */
export interface Response {
  readonly head: ResponseHead;
  /** Bytes of content announced, `0` if there can be none, or `-1`. */
  readonly contentLength: number;
  /** How the content ends. */
  readonly framing: "none" | "length" | "chunked" | "close";
  /** Whether the upstream lets the connection be used again (RFC 9112 §9.3). */
  readonly persistent: boolean;
}

/** Makes the rules for a parser from limits. */
export function responseRules(limits: { fields: number }): SectionRules {
  return {
    fields: limits.fields,
    malformed: "invalid_response",
    tooMany: "response_head_too_large",
    what: "Response head",
  };
}

/**
 * Reads a head from `start` to the empty line behind its fields.
 *
 * @returns The position behind the empty line, or {@linkcode INCOMPLETE}.
 * @throws {ProxyError} `invalid_response` or `response_head_too_large`.
 */
export function parseResponseHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  rules: SectionRules,
): number {
  if (end > start && bytes[start] !== 72) throw invalid("it does not begin with HTTP/1.x");
  if (end - start < 14) return INCOMPLETE;
  const minor = bytes[start + 7]! - 48;
  if (
    bytes[start] !== 72 || bytes[start + 1] !== 84 || bytes[start + 2] !== 84 ||
    bytes[start + 3] !== 80 || bytes[start + 4] !== 47 || bytes[start + 5] !== 49 ||
    bytes[start + 6] !== 46 || minor < 0 || minor > 9 || bytes[start + 8] !== SPACE
  ) throw invalid("it does not begin with HTTP/1.x and one space");
  let code = 0;
  for (let i = 9; i < 12; i++) {
    const digit = bytes[start + i]! - 48;
    if (digit < 0 || digit > 9) throw invalid("the status is not three digits");
    code = code * 10 + digit;
  }
  if (code < 100) throw invalid("the status is under 100");
  let position = start + 12;
  // Many origins leave out the space before an empty reason; nobody reads that in two ways.
  if (bytes[position] === SPACE) position++;
  else if (bytes[position] !== CR) throw invalid("the status is not three digits");
  const reasonStart = position;
  while (position < end && (CLASS[bytes[position]!]! & VALUE) !== 0) position++;
  if (position + 1 >= end) return INCOMPLETE;
  if (bytes[position] !== CR || bytes[position + 1] !== LF) {
    throw invalid(bytes[position] === LF ? "bare LF" : "a control character in the reason");
  }
  const headEnd = parseFieldSection(bytes, position + 2, end, rules);
  if (headEnd === INCOMPLETE) return INCOMPLETE;
  status.code = code;
  status.version = minor === 0 ? 10 : 11;
  status.reasonStart = reasonStart;
  status.reasonEnd = position;
  return headEnd;
}

const FRAMED = 1 << CONTENT_LENGTH | 1 << TRANSFER_ENCODING;

/**
 * Makes a response of the head that was parsed last, fields free of hop-by-hop fields and framing. The
 * `Upgrade` field of a 101 stays: it says which protocol follows.
 *
 * @throws {ProxyError} `invalid_response`.
 */
export function readResponse(bytes: Uint8Array, requestMethod: string): Response {
  const { seen, repeated } = section;
  const { code, version } = status;
  let contentLength = -1;
  let framing: Response["framing"] = "close";
  let isOdd = false;
  if ((seen & FRAMED) !== 0) {
    const hasLength = (seen & 1 << CONTENT_LENGTH) !== 0;
    if ((seen & 1 << TRANSFER_ENCODING) !== 0) {
      if (hasLength) throw invalid("both Content-Length and Transfer-Encoding");
      if (version === 10) throw invalid("Transfer-Encoding on HTTP/1.0");
      if ((repeated & 1 << TRANSFER_ENCODING) !== 0) throw invalid("Transfer-Encoding twice");
      // We never offer another coding (TE), so none may come.
      if (readTransferEncoding(valueOf(bytes, TRANSFER_ENCODING)) !== "chunked") {
        throw invalid("Transfer-Encoding is not chunked");
      }
      framing = "chunked";
    } else {
      if ((repeated & 1 << CONTENT_LENGTH) !== 0) throw invalid("Content-Length twice");
      const entry = section.first[CONTENT_LENGTH]!;
      contentLength = contentLengthAt(bytes, valueStartOf(entry), valueEndOf(entry));
      if (contentLength < 0) throw invalid("Content-Length is not a number of bytes");
      framing = "length";
    }
    // RFC 9112 §6.1, RFC 9110 §8.6: neither field may be there. Whether bytes follow is anybody's guess.
    isOdd = (code < 200 || code === 204) && (framing === "chunked" || contentLength > 0);
  }
  if (hasNoContent(requestMethod, code)) {
    framing = "none";
    if (code < 200 || code === 204 || requestMethod === "CONNECT") contentLength = 0;
  }
  const upgrade = code === 101 && (seen & 1 << UPGRADE) !== 0 ? valueOf(bytes, UPGRADE) : "";
  const fields = takeFields(bytes);
  const options = (seen & TO_STRIP) === 0 ? 0 : stripHopByHop(fields);
  if (upgrade !== "") fields.appendTrusted("Upgrade", upgrade);
  const head = new ResponseHead(code, fields, readReason(bytes, code), version);
  return {
    head,
    contentLength,
    framing,
    persistent: (options & OPTION_CLOSE) === 0 && framing !== "close" && !isOdd &&
      (version === 11 || (options & OPTION_KEEP_ALIVE) !== 0),
  };
}

/** The reason phrase, or an empty string if it is the usual one, which then need not be made. */
function readReason(bytes: Uint8Array, code: number): string {
  const { reasonStart, reasonEnd } = status;
  const usual = reasonPhrase(code);
  if (usual.length === reasonEnd - reasonStart) {
    let i = 0;
    while (i < usual.length && usual.charCodeAt(i) === bytes[reasonStart + i]) i++;
    if (i === usual.length) return "";
  }
  return latin1(bytes, reasonStart, reasonEnd);
}

function valueOf(bytes: Uint8Array, id: number): string {
  const entry = section.first[id]!;
  return latin1(bytes, valueStartOf(entry), valueEndOf(entry));
}

function invalid(problem: string): ProxyError {
  return new ProxyError("invalid_response", `Response head: ${problem}`);
}
