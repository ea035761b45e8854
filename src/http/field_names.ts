/**
 * Field names that a proxy acts on, as small numbers, so that the hot path compares integers.
 *
 * @module
 */

/** The id of a name that is not in the table. */
export const UNKNOWN = 0;
export const HOST = 1;
export const CONNECTION = 2;
export const CONTENT_LENGTH = 3;
export const TRANSFER_ENCODING = 4;
export const TE = 5;
export const TRAILER = 6;
export const UPGRADE = 7;
export const EXPECT = 8;
export const KEEP_ALIVE = 9;
export const PROXY_CONNECTION = 10;
export const PROXY_AUTHENTICATE = 11;
export const PROXY_AUTHORIZATION = 12;
export const VIA = 13;
export const X_FORWARDED_FOR = 14;
export const X_FORWARDED_PROTO = 15;
export const X_FORWARDED_HOST = 16;
export const X_FORWARDED_PORT = 17;
export const FORWARDED = 18;
export const DATE = 19;
export const CONTENT_TYPE = 20;
export const CONTENT_ENCODING = 21;
export const COOKIE = 22;
export const SET_COOKIE = 23;
export const AUTHORIZATION = 24;
export const ACCEPT = 25;
export const USER_AGENT = 26;
export const SERVER = 27;
export const HTTP2_SETTINGS = 28;
export const X_REAL_IP = 29;
export const CONTENT_RANGE = 30;
export const PROXY_STATUS = 31;
export const CLIENT_CERT = 32;
export const CLIENT_CERT_CHAIN = 33;

/** Lower-case names by id. */
export const FIELD_NAMES: readonly string[] = [
  "",
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
  "te",
  "trailer",
  "upgrade",
  "expect",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "via",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-forwarded-port",
  "forwarded",
  "date",
  "content-type",
  "content-encoding",
  "cookie",
  "set-cookie",
  "authorization",
  "accept",
  "user-agent",
  "server",
  "http2-settings",
  "x-real-ip",
  "content-range",
  "proxy-status",
  "client-cert",
  "client-cert-chain",
];

/** Fields that concern one connection only (RFC 9110 §7.6.1, RFC 9113 §8.2.2); never forwarded as they are. */
const HOP_BY_HOP_IDS = [
  CONNECTION,
  TRANSFER_ENCODING,
  TE,
  TRAILER,
  UPGRADE,
  KEEP_ALIVE,
  PROXY_CONNECTION,
  PROXY_AUTHENTICATE,
  PROXY_AUTHORIZATION,
  HTTP2_SETTINGS,
];

/** `1` at the id of every hop-by-hop field. */
export const IS_HOP_BY_HOP: Uint8Array = markIds(...HOP_BY_HOP_IDS);

/** `1` at each of the ids. */
export function markIds(...ids: readonly number[]): Uint8Array {
  const marks = new Uint8Array(FIELD_NAMES.length);
  for (const id of ids) marks[id] = 1;
  return marks;
}

/**
 * What a head that came along may not say of the connection it goes out on, nor of its framing, in any version: whoever
 * writes a head says so itself.
 */
export const WRITTEN_ANEW: readonly number[] = [
  CONNECTION,
  CONTENT_LENGTH,
  TRANSFER_ENCODING,
  KEEP_ALIVE,
  PROXY_CONNECTION,
  HTTP2_SETTINGS,
];

/** `1` at the id of what a `Connection` option must not be able to strip: it would change who is asked, or by whom. */
export const IS_PROTECTED: Uint8Array = markIds(
  HOST,
  CONTENT_LENGTH,
  X_FORWARDED_FOR,
  X_FORWARDED_PROTO,
  X_FORWARDED_HOST,
  X_FORWARDED_PORT,
  X_REAL_IP,
  FORWARDED,
  VIA,
  AUTHORIZATION,
  COOKIE,
  SET_COOKIE,
  DATE,
  CONTENT_TYPE,
  CONTENT_ENCODING,
  CONTENT_RANGE,
  CLIENT_CERT,
  CLIENT_CERT_CHAIN,
);

/** What is said of a client, and how long content is: our word, or that of a trusted proxy. */
const VOUCHED_IDS: ReadonlySet<number> = new Set([
  CONTENT_LENGTH,
  X_FORWARDED_FOR,
  X_FORWARDED_PROTO,
  X_FORWARDED_HOST,
  X_FORWARDED_PORT,
  X_REAL_IP,
  CLIENT_CERT,
  CLIENT_CERT_CHAIN,
]);
const UNDERSCORE = 95;
const HYPHEN = 45;

const IDS_BY_NAME = new Map(FIELD_NAMES.map((name, id) => [name, id]));
IDS_BY_NAME.delete("");

/** The id of a lower-case name, or {@linkcode UNKNOWN}. */
export function fieldId(lowerCaseName: string): number {
  return IDS_BY_NAME.get(lowerCaseName) ?? UNKNOWN;
}

// A name is looked up by its length and the low five bits of its first letter (which fold its case):
// one read decides for nearly every field that it is not in the table.
const BUCKETS: Uint8Array[] = Array.from({ length: 32 * 32 }, () => new Uint8Array(0));
const NAME_BYTES = FIELD_NAMES.map((name) => new TextEncoder().encode(name));
for (let id = 1; id < FIELD_NAMES.length; id++) {
  const bytes = NAME_BYTES[id]!;
  const key = bytes.length << 5 | (bytes[0]! & 31);
  BUCKETS[key] = Uint8Array.from([...BUCKETS[key]!, id]);
}

/** Ids of names that nobody may write in another way, where a bucket holds any. */
const VOUCHED: readonly (readonly number[] | undefined)[] = BUCKETS.map((bucket) => {
  const ids = [...bucket].filter((id) => IS_HOP_BY_HOP[id] === 1 || VOUCHED_IDS.has(id));
  const hyphened = ids.filter((id) => FIELD_NAMES[id]!.includes("-"));
  return hyphened.length === 0 ? undefined : hyphened;
});

/**
 * Whether the name in `bytes[start, end)` is that of a field which Sluice vouches for or takes off, but with `_` in the
 * place of a `-`: servers that make variables of fields (RFC 3875 §4.1.18) read both as one.
 */
export function isLookalike(bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (length > 31) return false;
  const ids = VOUCHED[length << 5 | (bytes[start]! & 31)];
  if (ids === undefined) return false;
  const name = Array.from(bytes.subarray(start, end), (c) => c === UNDERSCORE ? HYPHEN : c);
  return ids.includes(fieldIdOf(Uint8Array.from(name), 0, length));
}

/** The id of the name in `bytes[start, end)`, in any case. */
export function fieldIdOf(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length > 31) return UNKNOWN;
  const bucket = BUCKETS[length << 5 | (bytes[start]! & 31)]!;
  candidates: for (let b = 0; b < bucket.length; b++) {
    const id = bucket[b]!;
    const name = NAME_BYTES[id]!;
    for (let i = 0; i < length; i++) {
      const c = bytes[start + i]!;
      // Only letters fold; "-" and digits are compared as they are.
      if ((c >= 65 && c <= 90 ? c | 32 : c) !== name[i]) continue candidates;
    }
    return id;
  }
  return UNKNOWN;
}
