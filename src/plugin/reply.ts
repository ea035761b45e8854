/**
 * Makes the answers that hooks return.
 *
 * @module
 */
import type { ProblemBody, Reply, ReplyInit } from "./session.ts";

const encoder = new TextEncoder();

/** Fields of an answer that are made from what is really sent. */
const OWN = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Makes an answer: see `Session.respond`.
 *
 * @throws {RangeError} If the status is not a final one.
 * @throws {TypeError} If a field is one that only the server can know.
 */
export function makeReply(
  status: number,
  body?: string | Uint8Array | ProblemBody | null,
  init?: ReplyInit,
): Reply {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`Cannot respond: the status must be from 200 to 599, found ${status}`);
  }
  const headers = replyHeaders(init?.headers);
  const bytes = replyBody(status, body, headers);
  if (bytes !== null && bytes.length > 0 && (status === 204 || status === 304)) {
    throw new RangeError(`Cannot respond: a ${status} has no content`);
  }
  return { kind: "reply", status, headers, body: bytes };
}

function replyHeaders(init: ReplyInit["headers"]): [string, string][] {
  if (init === undefined) return [];
  const pairs = Symbol.iterator in init
    ? init as Iterable<readonly [string, string]>
    : Object.entries(init);
  const headers: [string, string][] = [];
  for (const [name, value] of pairs) {
    if (OWN.has(String(name).toLowerCase())) {
      throw new TypeError(`Cannot respond: field "${name}" is written by Sluice`);
    }
    headers.push([String(name), String(value)]);
  }
  return headers;
}

function replyBody(
  status: number,
  body: string | Uint8Array | ProblemBody | null | undefined,
  headers: [string, string][],
): Uint8Array | null {
  if (body === undefined || body === null) return null;
  if (body instanceof Uint8Array) return body;
  if (typeof body === "string") {
    addType(headers, "text/plain; charset=utf-8");
    return encoder.encode(body);
  }
  if (status < 400) {
    addType(headers, "application/json");
    return encoder.encode(JSON.stringify(body));
  }
  addType(headers, "application/problem+json");
  return encoder.encode(JSON.stringify({ ...body, status }));
}

function addType(headers: [string, string][], type: string): void {
  if (!headers.some(([name]) => name.toLowerCase() === "content-type")) {
    headers.push(["content-type", type]);
  }
}
