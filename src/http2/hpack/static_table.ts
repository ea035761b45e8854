/**
 * The static table (RFC 7541 Appendix A), each entry also as a ready-made `name: value CRLF` line.
 *
 * @module
 */
import { fieldId } from "../../http/field_names.ts";

/** Names and values by index; index 0 is not used. */
// deno-fmt-ignore
export const STATIC_TABLE: readonly (readonly [name: string, value: string])[] = [
  ["", ""],
  [":authority", ""], [":method", "GET"], [":method", "POST"], [":path", "/"],
  [":path", "/index.html"], [":scheme", "http"], [":scheme", "https"], [":status", "200"],
  [":status", "204"], [":status", "206"], [":status", "304"], [":status", "400"],
  [":status", "404"], [":status", "500"], ["accept-charset", ""], ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""], ["accept-ranges", ""], ["accept", ""], ["access-control-allow-origin", ""],
  ["age", ""], ["allow", ""], ["authorization", ""], ["cache-control", ""],
  ["content-disposition", ""], ["content-encoding", ""], ["content-language", ""], ["content-length", ""],
  ["content-location", ""], ["content-range", ""], ["content-type", ""], ["cookie", ""],
  ["date", ""], ["etag", ""], ["expect", ""], ["expires", ""],
  ["from", ""], ["host", ""], ["if-match", ""], ["if-modified-since", ""],
  ["if-none-match", ""], ["if-range", ""], ["if-unmodified-since", ""], ["last-modified", ""],
  ["link", ""], ["location", ""], ["max-forwards", ""], ["proxy-authenticate", ""],
  ["proxy-authorization", ""], ["range", ""], ["referer", ""], ["refresh", ""],
  ["retry-after", ""], ["server", ""], ["set-cookie", ""], ["strict-transport-security", ""],
  ["transfer-encoding", ""], ["user-agent", ""], ["vary", ""], ["via", ""],
  ["www-authenticate", ""],
];

/** Entries of the static table; the dynamic table begins behind them. */
export const STATIC_COUNT = 61;

/** The index of an entry by name and value. */
export function staticIndex(name: string, value: string): number {
  return STATIC_TABLE.findIndex((entry) => entry[0] === name && entry[1] === value);
}

// Pseudo-fields (RFC 9113 §8.3, RFC 8441 §4) as small numbers.
export const NOT_PSEUDO = 0;
export const METHOD = 1;
export const SCHEME = 2;
export const AUTHORITY = 3;
export const PATH = 4;
export const STATUS = 5;
export const PROTOCOL = 6;

/** Names of the pseudo-fields by number. */
export const PSEUDO_NAMES: readonly string[] = [
  "",
  ":method",
  ":scheme",
  ":authority",
  ":path",
  ":status",
  ":protocol",
];

/** All lines one after the other, as HTTP/1 writes them. */
export const STATIC_BYTES: Uint8Array = new TextEncoder().encode(
  STATIC_TABLE.slice(1).map(([name, value]) => `${name}: ${value}\r\n`).join(""),
);
/** Where the line of an entry begins. */
export const STATIC_START: Uint16Array = new Uint16Array(STATIC_COUNT + 1);
/** Length of an entry's name. */
export const STATIC_NAME: Uint8Array = new Uint8Array(STATIC_COUNT + 1);
/** Length of an entry's value. */
export const STATIC_VALUE: Uint8Array = new Uint8Array(STATIC_COUNT + 1);
/** Number of an entry's pseudo-field, or {@linkcode NOT_PSEUDO}. */
export const STATIC_PSEUDO: Uint8Array = new Uint8Array(STATIC_COUNT + 1);
/** Field id of an entry. */
export const STATIC_ID: Uint8Array = new Uint8Array(STATIC_COUNT + 1);

{
  let start = 0;
  for (let i = 1; i <= STATIC_COUNT; i++) {
    const [name, value] = STATIC_TABLE[i]!;
    STATIC_START[i] = start;
    STATIC_NAME[i] = name.length;
    STATIC_VALUE[i] = value.length;
    STATIC_PSEUDO[i] = Math.max(0, PSEUDO_NAMES.indexOf(name, 1));
    STATIC_ID[i] = fieldId(name);
    start += name.length + value.length + 4;
  }
}
