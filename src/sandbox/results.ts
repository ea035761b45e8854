/**
 * What hooks return: brought into one form where the hook ran, and checked where the result is used.
 *
 * The form is plain data. A reply is `[status, [name, value, …], body]`, a piece of content is bytes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { checkFieldName, checkFieldValue } from "../http/field_checks.ts";
import type { CertificateAnswer } from "../plugin/certificate.ts";
import { makeReply } from "../plugin/reply.ts";
import type { PeerChoice, PeerHttp2, PeerSpec, Reply } from "../plugin/session.ts";
import {
  MAX_CHUNK_BYTES,
  MAX_REPLY_BYTES,
  MAX_REPLY_FIELDS,
  MAX_TEXT,
  MAX_VALUE_BYTES,
  ProtocolError,
  type ResultKind,
} from "./protocol.ts";
import { copyValue, isBytes } from "./values.ts";

/**
 * Brings what a hook returned into the form that is sent. Runs where the hook ran.
 *
 * @returns The form; a promise only for a web `Response`, whose content has to be read.
 * @throws {TypeError} If the phase has no such result.
 */
export function normaliseResult(kind: ResultKind, value: unknown): unknown {
  if (value === undefined) return undefined;
  switch (kind) {
    case "none":
      throw new TypeError(`the hook returned ${nameOf(value)}, and this phase takes no result`);
    case "reply":
    case "reply_or_false":
      if (value === false && kind === "reply_or_false") return false;
      if (value instanceof Response) return responseForm(value);
      if (isReply(value)) return replyForm(value);
      throw new TypeError(
        `the hook returned ${nameOf(value)}: return session.respond(…), a Response, or nothing`,
      );
    case "chunk":
      if (value === null) return null;
      // Latin-1 would lose text, so a string goes out as UTF-8.
      if (typeof value === "string") return new Uint8Array(Buffer.from(value));
      if (isBytes(value)) {
        if (value.byteLength > MAX_CHUNK_BYTES) {
          throw new RangeError(
            `the hook returned ${value.byteLength} bytes: a piece holds at most ${MAX_CHUNK_BYTES}`,
          );
        }
        return value;
      }
      throw new TypeError(
        `the hook returned ${nameOf(value)}: return bytes, text, null or nothing`,
      );
    case "peer":
      return typeof value === "string" ? value : peerForm(value);
    default:
      return copyValue(value, MAX_VALUE_BYTES, "the result");
  }
}

function isReply(value: unknown): value is Reply {
  return typeof value === "object" && value !== null &&
    (value as { kind?: unknown }).kind === "reply";
}

function replyForm(reply: Reply): unknown {
  const flat: string[] = [];
  for (const [name, value] of reply.headers) flat.push(String(name), String(value));
  const body = reply.body ?? null;
  if (body !== null && !isBytes(body)) {
    throw new TypeError("the body of a reply must be bytes or null");
  }
  if (body !== null && body.byteLength > MAX_REPLY_BYTES) throw tooLarge(body.byteLength);
  return [reply.status, flat, body];
}

async function responseForm(response: Response): Promise<unknown> {
  const flat: string[] = [];
  for (const [name, value] of response.headers) {
    if (name !== "content-length") flat.push(name, value);
  }
  return [response.status, flat, response.body === null ? null : await readAll(response.body)];
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of stream) {
    length += part.byteLength;
    if (length > MAX_REPLY_BYTES) throw tooLarge(length);
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function tooLarge(bytes: number): RangeError {
  return new RangeError(`the body of a reply has ${bytes} bytes: at most ${MAX_REPLY_BYTES}`);
}

function peerForm(value: unknown): unknown {
  const plain = copyValue(value, MAX_TEXT, "the peer") as unknown as PeerSpec;
  if (plain !== null && typeof plain === "object" && "upstream" in plain) return plain;
  const { address, tls, protocol, http2 } = plain ?? {};
  return {
    address,
    tls: typeof tls === "object" && tls !== null ? { serverName: tls.serverName } : tls,
    protocol,
    http2,
  };
}

/** Names a value in a message. */
function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  const type = typeof value;
  return type === "object" ? "an object" : `a ${type}`;
}

/**
 * Checks a result and gives it the type of the contract. Runs where the result is used.
 *
 * @throws {ProtocolError} If it is not a result of this kind.
 * @throws {TypeError} If a field of a reply is not allowed.
 */
export function checkResult(kind: ResultKind, value: unknown): unknown {
  if (value === undefined) return undefined;
  switch (kind) {
    case "none":
      break;
    case "verdict":
    case "boolean":
      if (typeof value === "boolean") return value;
      break;
    case "reply_or_false":
      return value === false ? false : checkReply(value);
    case "reply":
      return checkReply(value);
    case "chunk":
      if (value === null) return null;
      if (isBytes(value) && value.byteLength <= MAX_CHUNK_BYTES) return value;
      break;
    case "text":
      if (typeof value === "string" && value.length <= MAX_TEXT) return value;
      break;
    case "texts":
      if (
        isList(value, 64) && value.every((one) => typeof one === "string" && one.length <= MAX_TEXT)
      ) {
        return Array.from(value);
      }
      break;
    case "hit":
      if (value === "force_expired" || value === "force_miss" || value === "force_fresh") {
        return value;
      }
      break;
    case "ranges":
      return checkRanges(value);
    case "storable": {
      if (typeof value === "boolean") return value;
      const ttl = own(value, "ttl");
      if (typeof ttl === "number" && ttl >= 0 && Number.isFinite(ttl)) return { ttl };
      break;
    }
    case "peer":
      return checkPeer(value);
    case "certificate":
      return checkCertificate(value);
    case "value":
      return copyValue(value, MAX_VALUE_BYTES, "the kept value");
  }
  throw new ProtocolError(`the hook returned ${nameOf(value)}, which this phase does not take`);
}

function checkReply(value: unknown): Reply {
  if (!isList(value, 3) || value.length !== 3) throw new ProtocolError("the reply is malformed");
  const [status, flat, body] = value as [unknown, unknown, unknown];
  if (typeof status !== "number") throw new ProtocolError("the reply has no status");
  if (!isList(flat, MAX_REPLY_FIELDS * 2) || flat.length % 2 !== 0) {
    throw new ProtocolError(`the reply has no list of at most ${MAX_REPLY_FIELDS} fields`);
  }
  if (body !== null && (!isBytes(body) || body.byteLength > MAX_REPLY_BYTES)) {
    throw new ProtocolError(`the body of the reply is not at most ${MAX_REPLY_BYTES} bytes`);
  }
  const headers: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i];
    const text = flat[i + 1];
    if (typeof name !== "string" || typeof text !== "string") {
      throw new ProtocolError("a field of the reply is not text");
    }
    checkFieldName(name);
    headers.push([name, checkFieldValue(name, text)]);
  }
  return makeReply(status, body as Uint8Array | null, { headers });
}

function checkRanges(value: unknown): (readonly [number, number])[] {
  if (!isList(value, 64)) throw new ProtocolError("the ranges are not a short list");
  return Array.from(value, (one): [number, number] => {
    const [from, to] = isList(one, 2) ? one : [];
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to)) {
      throw new ProtocolError("a range is not two whole numbers");
    }
    return [from as number, to as number];
  });
}

function checkPeer(value: unknown): string | PeerSpec | PeerChoice {
  if (typeof value === "string" && value.length <= MAX_TEXT) return value;
  if (own(value, "upstream") !== undefined) return checkChoice(value);
  const address = own(value, "address");
  if (typeof address !== "string" || address.length > MAX_TEXT) {
    throw new ProtocolError("the peer has no address");
  }
  const [tls, protocol, http2] = ["tls", "protocol", "http2"].map((name) => own(value, name));
  return {
    address,
    ...(tls === undefined ? {} : { tls: checkPeerTls(tls) }),
    ...(protocol === undefined ? {} : { protocol: checkProtocol(protocol) }),
    ...(http2 === undefined ? {} : { http2: checkHttp2(http2) }),
  };
}

function checkPeerTls(tls: unknown): NonNullable<PeerSpec["tls"]> {
  if (typeof tls === "boolean") return tls;
  if (typeof tls !== "object" || tls === null) {
    throw new ProtocolError("the tls of the peer is malformed");
  }
  const serverName = own(tls, "serverName");
  if (serverName === undefined) return {};
  if (typeof serverName !== "string" || serverName.length > 255) {
    throw new ProtocolError("the serverName of the peer is not a name");
  }
  return { serverName };
}

function checkProtocol(protocol: unknown): NonNullable<PeerSpec["protocol"]> {
  if (protocol === "h1" || protocol === "h2" || protocol === "h2c" || protocol === "auto") {
    return protocol;
  }
  throw new ProtocolError("the protocol of the peer is none of h1, h2, h2c and auto");
}

const HTTP2_KEYS = ["maxStreams", "pingInterval", "pingTimeout", "streamWindow"] as const;

function checkHttp2(http2: unknown): PeerHttp2 {
  if (typeof http2 !== "object" || http2 === null) {
    throw new ProtocolError("the http2 of the peer is malformed");
  }
  const checked: { -readonly [K in keyof PeerHttp2]: PeerHttp2[K] } = {};
  for (const key of HTTP2_KEYS) {
    const value = own(http2, key);
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value as number < 0) {
      throw new ProtocolError(`the http2.${key} of the peer is not a whole number`);
    }
    checked[key] = value as number;
  }
  return checked;
}

function checkChoice(value: unknown): PeerChoice {
  const text = (name: string): string | undefined => {
    const one = own(value, name);
    if (one === undefined || (typeof one === "string" && one.length <= MAX_TEXT)) return one;
    throw new ProtocolError(`the ${name} of the peer is not a short text`);
  };
  const upstream = text("upstream")!;
  const backend = text("backend");
  const hashValue = text("hashValue");
  const subset = own(value, "subset");
  return {
    upstream,
    ...(backend === undefined ? {} : { backend }),
    ...(hashValue === undefined ? {} : { hashValue }),
    ...(subset === undefined ? {} : { subset: checkLabels(subset) }),
  };
}

function checkCertificate(value: unknown): CertificateAnswer | undefined {
  if (value === null) return undefined;
  const cert = own(value, "cert");
  const key = own(value, "key");
  if (typeof cert !== "string" || typeof key !== "string") {
    throw new ProtocolError("the certificate is not { cert, key } with PEM texts");
  }
  // With the bounds of any other value; whether it is a certificate, its user checks.
  if (cert.length + key.length > MAX_VALUE_BYTES) {
    throw new ProtocolError(`the certificate and its key are over ${MAX_VALUE_BYTES} bytes`);
  }
  return { cert, key };
}

const MOST_LABELS = 16;

function checkLabels(value: unknown): Record<string, string> {
  const names = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (names.length > MOST_LABELS) {
    throw new ProtocolError("the subset of the peer has too many labels");
  }
  const labels: Record<string, string> = Object.create(null);
  for (const name of names) {
    const label = own(value, name);
    if (typeof label !== "string" || label.length > 255 || name.length > 255) {
      throw new ProtocolError("the subset of the peer is not labels");
    }
    labels[name] = label;
  }
  return { ...labels };
}

function isList(value: unknown, most: number): value is unknown[] {
  return Array.isArray(value) && value.length <= most;
}

/** An own property of plain data, never an inherited one. */
function own(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}
