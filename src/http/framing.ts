/**
 * Reading the two fields that say where a message ends (RFC 9112 §6).
 *
 * Strict: whatever two parsers could read differently is refused, for that is what request smuggling is made of.
 *
 * @module
 */

/**
 * Reads one Content-Length value: digits and nothing else (RFC 9110 §8.6).
 *
 * Lists such as `5, 5`, which a recipient may also accept, are refused.
 *
 * @returns The number, or `-1` if it is not one or is over 2^53 - 1.
 */
export function parseContentLength(value: string): number {
  if (value.length === 0) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return -1;
  }
  return length;
}

/** The same for a value in `bytes[start, end)`, of which no string is made. */
export function contentLengthAt(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end) return -1;
  let length = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return -1;
  }
  return length;
}

/** What a Transfer-Encoding value asks for. */
export type TransferEncoding =
  /** `chunked` alone: the only coding that Sluice reads. */
  | "chunked"
  /** Ends in `chunked`, but has other codings before it (RFC 9112 §6.1: 501). */
  | "unsupported"
  /** Does not end in exactly one `chunked`, so nobody can tell where the message ends. */
  | "invalid";

const CODING = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Reads one Transfer-Encoding value (RFC 9112 §6.1). Parameters and empty list members are refused. */
export function readTransferEncoding(value: string): TransferEncoding {
  if (value === "chunked") return "chunked";
  const codings = value.split(",").map((coding) => coding.replace(/^[\t ]+|[\t ]+$/g, ""));
  for (let i = 0; i < codings.length; i++) {
    const coding = codings[i]!;
    if (!CODING.test(coding)) return "invalid";
    const isChunked = coding.toLowerCase() === "chunked";
    if (isChunked !== (i === codings.length - 1)) return "invalid";
  }
  return codings.length === 1 ? "chunked" : "unsupported";
}
