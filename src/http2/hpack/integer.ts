/**
 * Integers with a prefix (RFC 7541 §5.1).
 *
 * @module
 */
import { COMPRESSION_ERROR } from "../constants.ts";
import { Http2Error } from "../error.ts";

/** Continuation bytes that an integer may have: enough for 2^28, more than any length or size here. */
const MAX_CONTINUATION = 4;

/** Where the integer that {@linkcode readInteger} read last ends. */
export const integer: { end: number } = { end: 0 };

/**
 * Reads an integer whose prefix is the low `bits` bits of `bytes[position]`.
 *
 * @returns Its value; its end is left in {@linkcode integer}.
 * @throws {Http2Error} COMPRESSION_ERROR if it is cut off or has more than four continuation bytes, those
 * that add nothing to the value included.
 */
export function readInteger(
  bytes: Uint8Array,
  position: number,
  end: number,
  bits: number,
): number {
  if (position >= end) throw truncated();
  const most = (1 << bits) - 1;
  let value = bytes[position]! & most;
  if (value < most) {
    integer.end = position + 1;
    return value;
  }
  for (let i = 0; i < MAX_CONTINUATION; i++) {
    if (++position >= end) throw truncated();
    const byte = bytes[position]!;
    value += (byte & 127) << (7 * i);
    if (byte < 128) {
      integer.end = position + 1;
      return value;
    }
  }
  throw new Http2Error(
    COMPRESSION_ERROR,
    "an integer in a field block is longer than any value needs (RFC 7541 §5.1)",
  );
}

/**
 * Writes `value` with a prefix of `bits` bits under the pattern `first`.
 *
 * @returns The position behind it. At most six bytes are written.
 */
export function writeInteger(
  out: Uint8Array,
  position: number,
  first: number,
  bits: number,
  value: number,
): number {
  const most = (1 << bits) - 1;
  if (value < most) {
    out[position] = first | value;
    return position + 1;
  }
  out[position++] = first | most;
  value -= most;
  while (value >= 128) {
    out[position++] = value & 127 | 128;
    value >>>= 7;
  }
  out[position] = value;
  return position + 1;
}

function truncated(): Http2Error {
  return new Http2Error(
    COMPRESSION_ERROR,
    "the field block ends inside a field (RFC 7541 §5.1)",
  );
}
