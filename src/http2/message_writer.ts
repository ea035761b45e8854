/**
 * Heads and trailers to field blocks (RFC 9113 §8.2, §8.3): pseudo-fields first, names in lower case, nothing
 * that concerns one HTTP/1 connection.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { httpDate } from "../http/date.ts";
import {
  CONTENT_LENGTH,
  DATE,
  HOST,
  markIds,
  TE,
  UPGRADE,
  WRITTEN_ANEW,
} from "../http/field_names.ts";
import type { Fields } from "../http/fields.ts";
import { CLASS, QUERY, TOKEN } from "../http/grammar.ts";
import type { RequestHead, ResponseHead } from "../http/message.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import { staticIndex } from "./hpack/static_table.ts";

// RFC 9113 §8.2.2; Content-Length and Host are written from what they mean. A response has no Host of its own, and what
// an origin sends by that name is its business.
const NOT_IN_RESPONSE = markIds(...WRITTEN_ANEW, TE, UPGRADE);
const NOT_IN_HEAD = markIds(...WRITTEN_ANEW, TE, UPGRADE, HOST);

/** Room for everything besides method, target, authority, protocol and fields. */
const EXTRA = HpackEncoder.BEGIN_BYTES + 192;

/** Most bytes that {@linkcode writeRequest} writes. */
export function requestBound(head: RequestHead, protocol: string): number {
  return EXTRA + head.method.length + head.targetLength + head.authority.length + protocol.length +
    HpackEncoder.fieldsBound(head.fields);
}

/** Most bytes that {@linkcode writeResponse} writes. */
export function responseBound(head: ResponseHead): number {
  return EXTRA + HpackEncoder.fieldsBound(head.fields);
}

/** Most bytes that {@linkcode writeTrailers} writes. */
export function trailersBound(trailers: Fields): number {
  return HpackEncoder.BEGIN_BYTES + HpackEncoder.fieldsBound(trailers);
}

/**
 * Writes the field block of a request. `TE` is kept in its one allowed form, `trailers`; a Host field becomes
 * `:authority`.
 *
 * @param protocol `:protocol` of an extended CONNECT (RFC 8441 §4), or empty.
 * @param length Content-Length, or `-1` for none.
 * @throws {ProxyError} `internal_error` if method or target cannot be written as they are.
 */
export function writeRequest(
  encoder: HpackEncoder,
  out: Uint8Array,
  position: number,
  head: RequestHead,
  scheme: string,
  protocol: string,
  length: number,
): number {
  const { fields } = head;
  const method = protocol === "" ? head.method : "CONNECT";
  const hasTarget = method !== "CONNECT" || protocol !== "";
  // All that can fail comes before the encoder, whose table the other side follows.
  checkClass(method, TOKEN, "method");
  checkClass(head.target, QUERY, "target");
  if (protocol !== "") checkClass(protocol, TOKEN, "protocol");
  // A Host field is what rules and plugins changed, so it counts.
  const authority = hasTarget ? fields.first(HOST) ?? head.authority : head.target;
  const takesTrailers = fields.first(TE) !== null;
  position = encoder.begin(out, position);
  position = method === "GET"
    ? encoder.static(out, position, GET)
    : encoder.field(out, position, ":method", method);
  if (hasTarget) position = encoder.static(out, position, scheme === "https" ? HTTPS : HTTP);
  if (authority !== "") position = encoder.field(out, position, ":authority", authority);
  if (hasTarget) position = encoder.field(out, position, ":path", head.target);
  if (protocol !== "") position = encoder.field(out, position, ":protocol", protocol);
  position = encoder.fields(out, position, fields, NOT_IN_HEAD);
  if (takesTrailers) position = encoder.text(out, position, TE, "trailers");
  return writeLength(encoder, out, position, length);
}

/**
 * Writes the field block of a response. `Date` is added where it is missing, except to a 1xx.
 *
 * @param length Content-Length, or `-1` for none.
 */
export function writeResponse(
  encoder: HpackEncoder,
  out: Uint8Array,
  position: number,
  head: ResponseHead,
  length: number,
): number {
  const { fields, status } = head;
  if (!Number.isInteger(status) || status < 100 || status > 999) {
    throw new ProxyError("internal_error", `Response head: the status ${status} is not 100 to 999`);
  }
  position = encoder.begin(out, position);
  position = status === 200
    ? encoder.static(out, position, OK)
    : encoder.field(out, position, ":status", STATUS[status] ??= String(status));
  position = encoder.fields(out, position, fields, NOT_IN_RESPONSE);
  if (status >= 200 && !fields.hasId(DATE)) {
    position = encoder.text(out, position, DATE, httpDate());
  }
  return writeLength(encoder, out, position, length);
}

/** Writes the field block of a trailer section. */
export function writeTrailers(
  encoder: HpackEncoder,
  out: Uint8Array,
  position: number,
  trailers: Fields,
): number {
  position = encoder.begin(out, position);
  return encoder.fields(out, position, trailers, NOT_IN_HEAD);
}

const STATUS: (string | undefined)[] = new Array(1000);
const GET = staticIndex(":method", "GET");
const HTTP = staticIndex(":scheme", "http");
const HTTPS = staticIndex(":scheme", "https");
const OK = staticIndex(":status", "200");

function writeLength(
  encoder: HpackEncoder,
  out: Uint8Array,
  position: number,
  length: number,
): number {
  return length < 0 ? position : encoder.text(out, position, CONTENT_LENGTH, String(length));
}

/** The last door before the wire: what the next hop could not write as HTTP/1 must not get there. */
function checkClass(text: string, bit: number, what: string): void {
  let valid = text.length > 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 255 || (CLASS[c]! & bit) === 0) valid = false;
  }
  if (!valid) {
    throw new ProxyError("internal_error", `Request head: the ${what} cannot be written as it is`);
  }
}
