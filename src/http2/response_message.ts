/**
 * What a decoded field block means as a response (RFC 9113 §8.3.2).
 *
 * @module
 */
import { stripHopByHop, TO_STRIP } from "../http/hop_by_hop.ts";
import { ResponseHead } from "../http/message.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import { STATUS } from "./hpack/static_table.ts";
import { checkBlock, malformed, readLength } from "./request_message.ts";

/** A response head with what it says of its content. */
export interface Http2Response {
  readonly head: ResponseHead;
  /** What the head lies in, to be given back to the pool when nobody looks at it any more. */
  readonly bytes: Uint8Array;
  /** Content-Length, or `-1`. What it means for HEAD, 204 and 304 is the session's to know. */
  readonly contentLength: number;
}

/**
 * Makes a response head of a block, fields free of hop-by-hop fields and framing. The block is empty afterwards.
 *
 * @param id The stream, for the error.
 * @throws {Http2Error} A stream error, if it is malformed (RFC 9113 §8.1.1).
 */
export function readResponse(block: FieldBlock, id: number, endStream: boolean): Http2Response {
  checkBlock(block, id);
  const { bytes, seen } = block;
  const start = block.pseudoStart(STATUS);
  if (block.pseudoSeen !== 1 << STATUS) {
    throw malformed(id, "a response has :status and no other pseudo-field (§8.3.2)");
  }
  if (block.tooLarge) throw malformed(id, "the response head is larger than allowed");
  const status = readStatus(bytes, start, block.pseudoEnd(STATUS));
  if (status < 0) throw malformed(id, ":status is not three digits (§8.3.2)");
  if (status === 101) throw malformed(id, "101, which HTTP/2 does not have (§8.6)");
  if (status < 200 && endStream) throw malformed(id, "a 1xx that ends the stream (§8.1)");
  const contentLength = readLength(block, id);
  const fields = block.takeFields();
  if ((seen & TO_STRIP) !== 0) stripHopByHop(fields);
  return { head: new ResponseHead(status, fields, "", 20), bytes, contentLength };
}

function readStatus(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 3) return -1;
  let status = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 48;
    if (digit < 0 || digit > 9) return -1;
    status = status * 10 + digit;
  }
  return status < 100 ? -1 : status;
}
