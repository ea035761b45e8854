/**
 * What a decoded field block means as a request (RFC 9113 §8.2, §8.3, §8.5, RFC 8441 §4).
 *
 * Whatever passes here is a request in HTTP/1 too, and the same one: names and values were checked by the
 * decoder, method, target and authority are held to the rules of the HTTP/1 parser.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { isAuthorityAt, isSameAuthority } from "../http/authority.ts";
import {
  CONNECTION,
  CONTENT_LENGTH,
  COOKIE,
  EXPECT,
  HOST,
  KEEP_ALIVE,
  PROXY_CONNECTION,
  TE,
  TRANSFER_ENCODING,
  UPGRADE,
} from "../http/field_names.ts";
import type { Fields } from "../http/fields.ts";
import { parseContentLength } from "../http/framing.ts";
import { ASTERISK, CLASS, PATH, QUERY, QUESTION, SLASH, TOKEN } from "../http/grammar.ts";
import { stripHopByHop, TO_STRIP } from "../http/hop_by_hop.ts";
import { RequestHead } from "../http/message.ts";
import { methodOf } from "../http/method.ts";
import { dropForbiddenTrailers } from "../http/trailers.ts";
import { upgradeProtocol } from "../http/upgrade.ts";
import { PROTOCOL_ERROR } from "./constants.ts";
import { Http2Error } from "./error.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import {
  AUTHORITY,
  METHOD,
  PATH as PATH_FIELD,
  PROTOCOL,
  SCHEME,
  STATUS,
} from "./hpack/static_table.ts";

/** A request head with what it says of its content. */
export interface Http2Request {
  readonly head: RequestHead;
  /** What the head lies in, to be given back to the pool when nobody looks at it any more. */
  readonly bytes: Uint8Array;
  /** Bytes of content, or `-1` if nobody knows. */
  readonly contentLength: number;
  /** The protocol that an extended CONNECT asks for, lower case, or empty. */
  readonly upgrade: string;
  /** Whether DATA is not content but what a tunnel carries. */
  readonly isTunnel: boolean;
  readonly expectsContinue: boolean;
}

/** What a listener says of requests. */
export interface RequestRules {
  /** Most bytes of the target; over it: 414. */
  readonly targetBytes: number;
  /** Whether CONNECT is let through; else it is 405. */
  readonly allowConnect: boolean;
}

/** Fields that an HTTP/2 message may not have (RFC 9113 §8.2.2). */
const CONNECTION_SPECIFIC = 1 << CONNECTION | 1 << KEEP_ALIVE | 1 << PROXY_CONNECTION |
  1 << TRANSFER_ENCODING | 1 << UPGRADE;
const SPECIAL = 1 << CONTENT_LENGTH | 1 << EXPECT | 1 << TE;

/**
 * Makes a request of a block, fields free of hop-by-hop fields and framing, `:authority` as Host. The block is
 * empty afterwards.
 *
 * @param id The stream, for the error.
 * @throws {Http2Error} A stream error, if it is malformed (RFC 9113 §8.1.1).
 * @throws {ProxyError} If it is well-formed but to be refused with a status.
 */
export function readRequest(
  block: FieldBlock,
  id: number,
  endStream: boolean,
  rules: RequestRules,
): Http2Request {
  const { bytes, seen } = block;
  checkBlock(block, id);
  if (block.pseudoStart(STATUS) >= 0) throw malformed(id, ":status in a request (§8.3.1)");
  if (block.pseudoStart(METHOD) < 0) {
    if (block.tooLarge) throw tooLarge();
    throw malformed(id, ":method is missing (§8.3.1)");
  }
  const method = methodOf(bytes, block.pseudoStart(METHOD), block.pseudoEnd(METHOD));
  if (!isClass(bytes, block.pseudoStart(METHOD), block.pseudoEnd(METHOD), TOKEN)) {
    throw malformed(id, "the method is not a token (§8.3.1)");
  }
  const protocol = block.pseudo(PROTOCOL);
  const isConnect = method === "CONNECT";
  if (protocol !== null && !isConnect) {
    throw malformed(id, ":protocol without CONNECT (RFC 8441 §4)");
  }
  const isPlainConnect = isConnect && protocol === null;
  const hasScheme = block.pseudoStart(SCHEME) >= 0;
  const scheme = hasScheme ? schemeOf(block) : OTHER_SCHEME;
  const pathStart = block.pseudoStart(PATH_FIELD);
  const pathEnd = block.pseudoEnd(PATH_FIELD);
  if (isPlainConnect) {
    if (hasScheme || pathStart >= 0) {
      throw malformed(id, ":scheme or :path in a CONNECT request (§8.5)");
    }
  } else if (!hasScheme || pathStart < 0) {
    if (block.tooLarge) throw tooLarge();
    throw malformed(id, ":scheme or :path is missing (§8.3.1)");
  } else checkPath(block, id, method, rules);
  if (block.tooLarge) throw tooLarge();
  checkAuthority(block, id, scheme, isPlainConnect);
  if (hasScheme && scheme === OTHER_SCHEME) {
    throw new ProxyError("invalid_request", "Request: only http and https URIs are served here");
  }
  if (isPlainConnect && !rules.allowConnect) {
    throw new ProxyError("method_not_allowed", "Request: CONNECT is not allowed here");
  }

  let contentLength = endStream ? 0 : -1;
  let expectsContinue = false;
  if ((seen & SPECIAL) !== 0) {
    const length = readLength(block, id);
    if (length > 0 && endStream) throw malformed(id, "Content-Length without content (§8.1.1)");
    if (length >= 0 && !isConnect) contentLength = length;
    if ((seen & 1 << TE) !== 0 && !onlyTrailers(block)) {
      throw malformed(id, "TE with something else than trailers (§8.2.2)");
    }
    if ((seen & 1 << EXPECT) !== 0) {
      if (
        (block.repeated & 1 << EXPECT) !== 0 ||
        block.first(EXPECT).toLowerCase() !== "100-continue"
      ) throw new ProxyError("expectation_failed", "Request head: an expectation nobody can meet");
      expectsContinue = !endStream && contentLength !== 0 && !isConnect;
    }
  }
  const upgrade = protocol === null ? "" : upgradeProtocol(protocol);
  if (protocol !== null && upgrade === "") {
    throw new ProxyError("not_implemented", "Request: a protocol that no tunnel is made for");
  }

  const authority = isPlainConnect ? block.pseudo(AUTHORITY) : null;
  const crumbs = (block.repeated & 1 << COOKIE) !== 0;
  if (block.pseudoStart(AUTHORITY) >= 0 && (seen & 1 << HOST) === 0) block.authorityToHost();
  const host = (seen & 1 << HOST) === 0 ? null : block.pseudo(AUTHORITY);
  const fields = block.takeFields();
  if ((seen & TO_STRIP) !== 0) stripHopByHop(fields);
  // What counts is :authority; whoever reads the Host field must read the same.
  if (host !== null) fields.set("Host", host);
  // RFC 9113 §8.2.3: HTTP/1 knows one Cookie field only.
  if (crumbs) fields.set("cookie", fields.getAll("cookie").join("; "));
  const head = isPlainConnect
    ? new RequestHead({ method, version: 20, fields, target: authority!, authority: authority! })
    : RequestHead.parsed(
      protocol === null ? method : "GET",
      20,
      fields,
      bytes,
      pathStart,
      pathEnd,
      null,
    );
  return {
    head,
    bytes,
    contentLength: isConnect ? 0 : contentLength,
    upgrade,
    isTunnel: isConnect,
    expectsContinue,
  };
}

/**
 * Makes trailers of a block, on either side. The block is empty afterwards.
 *
 * @throws {Http2Error} A stream error, if they are malformed or too large.
 */
export function readTrailers(block: FieldBlock, id: number, endStream: boolean): Fields {
  checkBlock(block, id);
  if (!endStream) throw malformed(id, "a second field block that does not end the stream (§8.1)");
  if (block.pseudoSeen !== 0) throw malformed(id, "a pseudo-field in trailers (§8.1)");
  if (block.tooLarge) throw malformed(id, "the trailers are larger than allowed");
  const trailers = block.takeFields();
  dropForbiddenTrailers(trailers);
  return trailers;
}

/** What requests, responses and trailers have in common. */
export function checkBlock(block: FieldBlock, id: number): void {
  if (block.malformed !== null) throw new Http2Error(PROTOCOL_ERROR, block.malformed, id);
  if ((block.seen & CONNECTION_SPECIFIC) !== 0) {
    throw malformed(id, "a field that belongs to an HTTP/1 connection (§8.2.2)");
  }
}

/**
 * The value of Content-Length, or `-1` if there is none.
 *
 * @throws {Http2Error} A stream error, if it is no length, or comes twice.
 */
export function readLength(block: FieldBlock, id: number): number {
  if ((block.seen & 1 << CONTENT_LENGTH) === 0) return -1;
  const length = (block.repeated & 1 << CONTENT_LENGTH) === 0
    ? parseContentLength(block.first(CONTENT_LENGTH))
    : -1;
  if (length < 0) throw malformed(id, "Content-Length is not one number of bytes (§8.1.1)");
  return length;
}

/** A message that is not one. */
export function malformed(id: number, problem: string): Http2Error {
  return new Http2Error(PROTOCOL_ERROR, `malformed message: ${problem}`, id);
}

const OTHER_SCHEME = 0;
const HTTP_SCHEME = 1;
const HTTPS_SCHEME = 2;
const HTTPS = new TextEncoder().encode("https");

/** Which scheme it is, whatever the case of its letters (RFC 3986 §3.1). */
function schemeOf(block: FieldBlock): number {
  const start = block.pseudoStart(SCHEME);
  const length = block.pseudoEnd(SCHEME) - start;
  if (length !== 4 && length !== 5) return OTHER_SCHEME;
  for (let i = 0; i < length; i++) {
    if ((block.bytes[start + i]! | 32) !== HTTPS[i]) return OTHER_SCHEME;
  }
  return length === 4 ? HTTP_SCHEME : HTTPS_SCHEME;
}

function tooLarge(): ProxyError {
  return new ProxyError(
    "head_too_large",
    "Request head: more fields, or longer ones, than allowed",
  );
}

function checkPath(block: FieldBlock, id: number, method: string, rules: RequestRules): void {
  const { bytes } = block;
  const start = block.pseudoStart(PATH_FIELD);
  const end = block.pseudoEnd(PATH_FIELD);
  if (end - start > rules.targetBytes) {
    throw new ProxyError(
      "target_too_long",
      `Request head: the target has more than ${rules.targetBytes} bytes`,
    );
  }
  if (bytes[start] === ASTERISK && end - start === 1) {
    if (method !== "OPTIONS") throw malformed(id, `":path: *" is for OPTIONS only (§8.3.1)`);
    return;
  }
  if (start === end || bytes[start] !== SLASH) {
    throw malformed(id, ":path does not begin with a slash (§8.3.1)");
  }
  let position = start;
  while (position < end && (CLASS[bytes[position]!]! & PATH) !== 0) position++;
  if (bytes[position] === QUESTION && position < end) {
    while (position < end && (CLASS[bytes[position]!]! & QUERY) !== 0) position++;
  }
  if (position < end) {
    const byte = bytes[position]!.toString(16).padStart(2, "0");
    throw malformed(id, `byte 0x${byte} in :path (§8.3.1)`);
  }
}

/** Checks `:authority` and Host, and that they do not contradict each other (RFC 9113 §8.3.1). */
function checkAuthority(
  block: FieldBlock,
  id: number,
  scheme: number,
  needsPort: boolean,
): void {
  const start = block.pseudoStart(AUTHORITY);
  const end = block.pseudoEnd(AUTHORITY);
  if (start >= 0 && !isAuthorityAt(block.bytes, start, end, needsPort)) {
    throw malformed(id, `:authority is not ${needsPort ? "" : "host or "}host:port (§8.3.1)`);
  }
  if ((block.seen & 1 << HOST) === 0) {
    if (start < 0) throw malformed(id, "neither :authority nor Host (§8.3.1)");
    return;
  }
  if ((block.repeated & 1 << HOST) !== 0) throw malformed(id, "Host is given twice");
  const host = block.first(HOST);
  const bytes = new TextEncoder().encode(host);
  if (!isAuthorityAt(bytes, 0, bytes.length, false)) {
    throw malformed(id, "Host is not host or host:port (§8.3.1)");
  }
  if (start < 0) {
    if (needsPort) throw malformed(id, ":authority is missing (§8.5)");
    return;
  }
  if (
    !isSameAuthority(host, block.pseudo(AUTHORITY)!, scheme === HTTP_SCHEME ? "http" : "https")
  ) {
    throw malformed(id, "Host contradicts :authority (§8.3.1)");
  }
}

function onlyTrailers(block: FieldBlock): boolean {
  return (block.repeated & 1 << TE) === 0 && block.first(TE).toLowerCase() === "trailers";
}

function isClass(bytes: Uint8Array, start: number, end: number, bit: number): boolean {
  let all = end > start ? bit : 0;
  for (let i = start; i < end; i++) all &= CLASS[bytes[i]!]!;
  return all !== 0;
}
