/**
 * Frames to bytes (RFC 9113 §6), into a buffer that has room; each returns the position behind the frame.
 *
 * @module
 */
import {
  CONTINUATION,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_HEADER_BYTES,
  GOAWAY,
  HEADERS,
  PING,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
} from "./constants.ts";

/** Writes the nine bytes before a payload. */
export function writeFrameHeader(
  out: Uint8Array,
  position: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): number {
  out[position] = length >>> 16;
  out[position + 1] = length >>> 8;
  out[position + 2] = length;
  out[position + 3] = type;
  out[position + 4] = flags;
  return writeUint32(out, position + 5, stream);
}

/** Bytes that {@linkcode finishHeaders} adds to a field block of `length` bytes, the first header included. */
export function headersOverhead(length: number, maxFrame: number): number {
  return Math.max(1, Math.ceil(length / maxFrame)) * FRAME_HEADER_BYTES;
}

/**
 * Makes HEADERS, and CONTINUATION if need be, of a field block that was written nine bytes behind `position`.
 *
 * @param end The position behind the block. The buffer has room for {@linkcode headersOverhead}.
 * @param maxFrame The other side's SETTINGS_MAX_FRAME_SIZE.
 */
export function finishHeaders(
  out: Uint8Array,
  position: number,
  end: number,
  stream: number,
  endStream: boolean,
  maxFrame: number,
): number {
  const start = position + FRAME_HEADER_BYTES;
  const length = end - start;
  const frames = Math.max(1, Math.ceil(length / maxFrame));
  const flags = endStream ? FLAG_END_STREAM : 0;
  // From the last to the first, so that each piece moves once and over nothing that is still needed.
  for (let i = frames - 1; i > 0; i--) {
    const from = start + i * maxFrame;
    const size = Math.min(maxFrame, end - from);
    const to = from + i * FRAME_HEADER_BYTES;
    out.copyWithin(to, from, from + size);
    const last = i === frames - 1 ? FLAG_END_HEADERS : 0;
    writeFrameHeader(out, to - FRAME_HEADER_BYTES, size, CONTINUATION, last, stream);
  }
  const first = Math.min(length, maxFrame);
  const whole = frames === 1 ? FLAG_END_HEADERS : 0;
  writeFrameHeader(out, position, first, HEADERS, flags | whole, stream);
  return end + (frames - 1) * FRAME_HEADER_BYTES;
}

/** Writes RST_STREAM. */
export function writeRstStream(
  out: Uint8Array,
  position: number,
  stream: number,
  code: number,
): number {
  return writeUint32(out, writeFrameHeader(out, position, 4, RST_STREAM, 0, stream), code);
}

/** Writes SETTINGS with identifier, value, identifier, value… */
export function writeSettings(
  out: Uint8Array,
  position: number,
  settings: readonly number[],
): number {
  position = writeFrameHeader(out, position, settings.length * 3, SETTINGS, 0, 0);
  for (let i = 0; i < settings.length; i += 2) {
    out[position++] = settings[i]! >>> 8;
    out[position++] = settings[i]!;
    position = writeUint32(out, position, settings[i + 1]!);
  }
  return position;
}

/** Writes the acknowledgement of SETTINGS. */
export function writeSettingsAck(out: Uint8Array, position: number): number {
  return writeFrameHeader(out, position, 0, SETTINGS, FLAG_ACK, 0);
}

/** Writes PING with the eight bytes from `start`. */
export function writePing(
  out: Uint8Array,
  position: number,
  ack: boolean,
  bytes: Uint8Array,
  start: number,
): number {
  position = writeFrameHeader(out, position, 8, PING, ack ? FLAG_ACK : 0, 0);
  for (let i = 0; i < 8; i++) out[position++] = bytes[start + i]!;
  return position;
}

/** Writes GOAWAY without debug data. */
export function writeGoaway(
  out: Uint8Array,
  position: number,
  lastStream: number,
  code: number,
): number {
  position = writeFrameHeader(out, position, 8, GOAWAY, 0, 0);
  return writeUint32(out, writeUint32(out, position, lastStream), code);
}

/** Writes WINDOW_UPDATE; `stream` is `0` for the connection. */
export function writeWindowUpdate(
  out: Uint8Array,
  position: number,
  stream: number,
  increment: number,
): number {
  position = writeFrameHeader(out, position, 4, WINDOW_UPDATE, 0, stream);
  return writeUint32(out, position, increment);
}

function writeUint32(out: Uint8Array, position: number, value: number): number {
  out[position] = value >>> 24;
  out[position + 1] = value >>> 16;
  out[position + 2] = value >>> 8;
  out[position + 3] = value;
  return position + 4;
}
