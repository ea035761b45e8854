/**
 * Writes heads (RFC 9112 §3, §4). Framing and connection options are written here and nowhere else: fields of
 * those names that came along are taken out first, so that a head can never contradict itself.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { dateLine } from "../http/date.ts";
import { DATE, HOST, markIds, TE, TRAILER, UPGRADE, WRITTEN_ANEW } from "../http/field_names.ts";
import { checkFieldValue } from "../http/field_checks.ts";
import { writeLatin1 } from "../http/fields.ts";
import type { RequestHead, ResponseHead } from "../http/message.ts";
import { reasonPhrase } from "../http/reason.ts";
import type { Framing } from "../http/session.ts";
import { CLASS, CR, LF, QUERY, SPACE, TOKEN } from "../http/grammar.ts";
import type { Output } from "./output.ts";

const NOT_IN_REQUEST = markIds(...WRITTEN_ANEW, TRAILER);
const NOT_IN_RESPONSE = markIds(...WRITTEN_ANEW, TRAILER, TE, UPGRADE);
/** A 101 names the protocol that follows; a 426 the ones that would do (RFC 9110 §15.5.22). */
const NOT_IN_SWITCH = markIds(...WRITTEN_ANEW, TRAILER, TE);

/** Room for everything that is written besides target, method and fields. */
const EXTRA = 192;

/** What a response head says of its connection. */
export type ConnectionOption = "" | "close" | "keep-alive";

const latin1 = (text: string) => {
  const bytes = new Uint8Array(text.length);
  writeLatin1(bytes, 0, text);
  return bytes;
};
const STATUS_LINES: (Uint8Array | undefined)[] = new Array(1000);
const VERSION = latin1(" HTTP/1.1\r\n");
const LENGTH = latin1("Content-Length: ");
const CHUNKED = latin1("Transfer-Encoding: chunked\r\n");
const CLOSE = latin1("Connection: close\r\n");
const KEEP = latin1("Connection: keep-alive\r\n");
const SWITCH = latin1("Connection: upgrade\r\n");
const ONLY_TE = latin1("Connection: TE\r\n");
const SWITCH_AND_TE = latin1("Connection: upgrade, TE\r\n");

/**
 * Gathers a request head in origin-form, or as the head's target is for `*` and CONNECT. A missing Host is
 * made from the authority.
 *
 * @param framing How the content ends; `none` writes no framing.
 * @returns Whether it offers to switch protocols.
 */
export function writeRequestHead(output: Output, head: RequestHead, framing: Framing): boolean {
  const { fields, method } = head;
  const left = fields.sweep(NOT_IN_REQUEST);
  const host = (left & 1 << HOST) === 0 ? head.authority : null;
  output.reserve(
    method.length + head.targetLength + fields.byteLength + EXTRA +
      (host === null ? 0 : host.length),
  );
  const out = output.bytes;
  const start = output.length;
  let position = writeLatin1(out, start, method);
  checkClass(out, start, position, TOKEN, "method");
  out[position++] = SPACE;
  const target = position;
  position = head.writeTarget(out, position);
  checkClass(out, target, position, QUERY, "target");
  position = writeBytes(out, position, VERSION);
  if (host !== null) {
    position = writeLatin1(out, position, `Host: ${checkFieldValue("host", host)}\r\n`);
  }
  position = fields.writeTo(out, position);
  if ((left & (1 << UPGRADE | 1 << TE)) !== 0) {
    const bytes = (left & 1 << UPGRADE) === 0
      ? ONLY_TE
      : (left & 1 << TE) === 0
      ? SWITCH
      : SWITCH_AND_TE;
    position = writeBytes(out, position, bytes);
  }
  if (framing.kind === "length") position = writeLength(out, position, framing.length);
  else if (framing.kind === "stream") position = writeBytes(out, position, CHUNKED);
  out[position++] = CR;
  out[position++] = LF;
  output.length = position;
  return (left & 1 << UPGRADE) !== 0;
}

/** The framing fields of a response head. */
export type ResponseFraming =
  /** Content-Length. */
  | number
  | "chunked"
  /** No framing field. */
  | "none";

/** Gathers a response head. `Date` is added where it is missing, except to a 1xx. */
export function writeResponseHead(
  output: Output,
  head: ResponseHead,
  framing: ResponseFraming,
  connection: ConnectionOption,
): void {
  const { fields, status } = head;
  const switches = status === 101 || status === 426;
  const left = fields.sweep(switches ? NOT_IN_SWITCH : NOT_IN_RESPONSE);
  output.reserve(fields.byteLength + EXTRA + head.reason.length);
  const out = output.bytes;
  let position = writeStatusLine(out, output.length, status, head.reason);
  position = fields.writeTo(out, position);
  if ((left & 1 << DATE) === 0 && status >= 200) position = writeBytes(out, position, dateLine());
  if (switches && (left & 1 << UPGRADE) !== 0) {
    position = status === 426 && connection === "close"
      ? writeLatin1(out, position, "Connection: close, upgrade\r\n")
      : writeBytes(out, position, SWITCH);
  } else if (connection === "close") position = writeBytes(out, position, CLOSE);
  else if (connection === "keep-alive") position = writeBytes(out, position, KEEP);
  if (framing === "chunked") position = writeBytes(out, position, CHUNKED);
  else if (framing !== "none") position = writeLength(out, position, framing);
  out[position++] = CR;
  out[position++] = LF;
  output.length = position;
}

function writeStatusLine(out: Uint8Array, at: number, status: number, reason: string): number {
  if (!Number.isInteger(status) || status < 100 || status > 999) {
    throw new ProxyError("internal_error", `Response head: the status ${status} is not 100 to 999`);
  }
  // A reason that could end the line is replaced by the usual one: it carries no meaning (RFC 9112 §4).
  if (reason !== "" && !/[^\t\x20-\x7e\x80-\xff]/.test(reason)) {
    return writeLatin1(out, at, `HTTP/1.1 ${status} ${reason}\r\n`);
  }
  const line = STATUS_LINES[status] ??= latin1(`HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n`);
  return writeBytes(out, at, line);
}

/** The last door before the wire: what would end the request line early must not get there, whoever let it in. */
function checkClass(out: Uint8Array, from: number, to: number, bit: number, what: string): void {
  let valid = to > from;
  for (let i = from; i < to; i++) if ((CLASS[out[i]!]! & bit) === 0) valid = false;
  if (!valid) {
    throw new ProxyError("internal_error", `Request head: the ${what} cannot be written as it is`);
  }
}

function writeLength(out: Uint8Array, position: number, length: number): number {
  position = writeBytes(out, position, LENGTH);
  let end = position + 1;
  for (let rest = length; rest >= 10; rest = Math.floor(rest / 10)) end++;
  for (let at = end - 1, rest = length; at >= position; at--, rest = Math.floor(rest / 10)) {
    out[at] = 48 + rest % 10;
  }
  out[end++] = CR;
  out[end++] = LF;
  return end;
}

function writeBytes(out: Uint8Array, position: number, bytes: Uint8Array): number {
  out.set(bytes, position);
  return position + bytes.length;
}
