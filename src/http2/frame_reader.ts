/**
 * Bytes to frames (RFC 9113 §4, §6).
 *
 * A frame that lies whole in what was received is handed on in place. Only one that is cut is put together,
 * in a buffer no longer than the frame. Field blocks are put together too, so that whoever decodes them sees
 * each in one piece.
 *
 * @module
 */
import {
  CONTINUATION,
  DATA,
  ENHANCE_YOUR_CALM,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_HEADER_BYTES,
  FRAME_NAMES,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HEADERS,
  MIN_MAX_FRAME,
  PING,
  PREFACE,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
} from "./constants.ts";
import { Http2Error } from "./error.ts";

/** Who takes the frames. Bytes are valid during the call only. */
export interface FrameHandler {
  /** Content; `flow` is what counts against the windows, padding included (RFC 9113 §6.1). */
  onData(
    stream: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    flow: number,
    endStream: boolean,
  ): void;
  /** A whole field block, of HEADERS and the CONTINUATION frames behind it. */
  onHeaders(
    stream: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    endStream: boolean,
  ): void;
  onPriority(stream: number): void;
  onRstStream(stream: number, code: number): void;
  /** The payload of SETTINGS: six bytes for each, in order. */
  onSettings(bytes: Uint8Array, start: number, end: number): void;
  onSettingsAck(): void;
  /** Eight bytes from `start`; if not `ack`, to be sent back. */
  onPing(ack: boolean, bytes: Uint8Array, start: number): void;
  onGoaway(
    lastStream: number,
    code: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void;
  /** `stream` is `0` for the connection. */
  onWindowUpdate(stream: number, increment: number): void;
  /** A frame of a type that is not known, which is otherwise ignored (RFC 9113 §4.1). */
  onUnknown(type: number, length: number): void;
  /** A frame that ends its stream but not the connection. */
  onStreamError(error: Http2Error): void;
}

/** Bounds of a reader. */
export interface FrameLimits {
  /** SETTINGS_MAX_FRAME_SIZE that was sent; a longer frame: FRAME_SIZE_ERROR. */
  readonly frameBytes: number;
  /** Bytes of one field block, as sent; over it: ENHANCE_YOUR_CALM. */
  readonly blockBytes: number;
  /** CONTINUATION frames of one field block; over it: ENHANCE_YOUR_CALM. */
  readonly continuations: number;
}

export const FRAME_LIMITS: FrameLimits = {
  frameBytes: MIN_MAX_FRAME,
  blockBytes: 64 * 1024,
  continuations: 8,
};

const NO_BYTES = new Uint8Array(0);

/** Reads the frames of one side of a connection. After it threw, it must not be fed again. */
export class FrameReader {
  readonly #handler: FrameHandler;
  readonly #limits: FrameLimits;
  #prefaceLeft: number;
  #settingsDue = true;
  /** The beginning of a frame that is cut. */
  #held: Uint8Array = NO_BYTES;
  #heldLength = 0;
  /** The stream whose field block is open, or `0`. */
  #open = 0;
  #openEndsStream = false;
  #continuations = 0;
  #block: Uint8Array = NO_BYTES;
  #blockLength = 0;

  /** @param server Whether a client sends, whose preface comes first (RFC 9113 §3.4). */
  constructor(handler: FrameHandler, server: boolean, limits: FrameLimits = FRAME_LIMITS) {
    this.#handler = handler;
    this.#limits = limits;
    this.#prefaceLeft = server ? PREFACE.length : 0;
  }

  /** Whether the bytes so far end between two frames and outside a field block. */
  get atBoundary(): boolean {
    return this.#heldLength === 0 && this.#open === 0 && this.#prefaceLeft === 0;
  }

  /** Whether a field block has begun and not ended. */
  get inFieldBlock(): boolean {
    return this.#open !== 0 || (this.#heldLength > 3 && this.#held[3] === HEADERS);
  }

  /**
   * Takes what was received and calls the handler for every frame that is whole.
   *
   * @throws {Http2Error} A connection error.
   */
  feed(bytes: Uint8Array): void {
    let position = this.#prefaceLeft > 0 ? this.#readPreface(bytes) : 0;
    if (this.#heldLength > 0) position = this.#finishHeld(bytes, position);
    const end = bytes.length;
    while (end - position >= FRAME_HEADER_BYTES) {
      const length = this.#lengthOf(bytes, position);
      const next = position + FRAME_HEADER_BYTES + length;
      if (next > end) break;
      this.#frame(bytes, position, length);
      position = next;
    }
    if (position < end) this.#hold(bytes, position, end);
  }

  #readPreface(bytes: Uint8Array): number {
    let position = 0;
    while (this.#prefaceLeft > 0 && position < bytes.length) {
      if (bytes[position] !== PREFACE[PREFACE.length - this.#prefaceLeft]) {
        throw new Http2Error(PROTOCOL_ERROR, "the client preface is not HTTP/2's (RFC 9113 §3.4)");
      }
      position++;
      this.#prefaceLeft--;
    }
    return position;
  }

  #finishHeld(bytes: Uint8Array, position: number): number {
    if (this.#heldLength < FRAME_HEADER_BYTES) {
      position = this.#take(bytes, position, FRAME_HEADER_BYTES);
      if (this.#heldLength < FRAME_HEADER_BYTES) return position;
    }
    const length = this.#lengthOf(this.#held, 0);
    const whole = FRAME_HEADER_BYTES + length;
    position = this.#take(bytes, position, whole);
    if (this.#heldLength < whole) return position;
    const held = this.#held;
    this.#held = NO_BYTES;
    this.#heldLength = 0;
    this.#frame(held, 0, length);
    return position;
  }

  /** Moves bytes into the held frame until it has `length`; returns the position behind them. */
  #take(bytes: Uint8Array, position: number, length: number): number {
    if (this.#held.length < length) {
      const next = new Uint8Array(length);
      next.set(this.#held.subarray(0, this.#heldLength));
      this.#held = next;
    }
    const count = Math.min(length - this.#heldLength, bytes.length - position);
    this.#held.set(bytes.subarray(position, position + count), this.#heldLength);
    this.#heldLength += count;
    return position + count;
  }

  #hold(bytes: Uint8Array, position: number, end: number): void {
    const length = end - position >= FRAME_HEADER_BYTES
      ? FRAME_HEADER_BYTES + this.#lengthOf(bytes, position)
      : FRAME_HEADER_BYTES;
    this.#take(bytes, position, length);
  }

  #lengthOf(bytes: Uint8Array, at: number): number {
    const length = bytes[at]! << 16 | bytes[at + 1]! << 8 | bytes[at + 2]!;
    if (length > this.#limits.frameBytes) {
      throw new Http2Error(
        FRAME_SIZE_ERROR,
        `a frame of ${length} bytes, where ${this.#limits.frameBytes} are allowed (RFC 9113 §4.2)`,
      );
    }
    return length;
  }

  #frame(bytes: Uint8Array, at: number, length: number): void {
    const type = bytes[at + 3]!;
    const flags = bytes[at + 4]!;
    const stream = uint31(bytes, at + 5);
    const start = at + FRAME_HEADER_BYTES;
    const end = start + length;
    const handler = this.#handler;
    if (this.#settingsDue) {
      if (type !== SETTINGS || (flags & FLAG_ACK) !== 0) {
        throw protocol("the first frame is not SETTINGS (RFC 9113 §3.4)");
      }
      this.#settingsDue = false;
    }
    if (this.#open !== 0 && (type !== CONTINUATION || stream !== this.#open)) {
      throw protocol("a frame inside a field block (RFC 9113 §6.10)");
    }
    if (type > CONTINUATION) {
      handler.onUnknown(type, length);
      return;
    }
    if ((type === SETTINGS || type === PING || type === GOAWAY) !== (stream === 0)) {
      // WINDOW_UPDATE is for both.
      if (type !== WINDOW_UPDATE) {
        throw protocol(`${FRAME_NAMES[type]} on stream ${stream} (RFC 9113 §6)`);
      }
    }
    switch (type) {
      case DATA: {
        const first = start + (flags & FLAG_PADDED ? 1 : 0);
        const last = unpadded(bytes, start, first, end, flags, DATA);
        handler.onData(stream, bytes, first, last, length, (flags & FLAG_END_STREAM) !== 0);
        return;
      }
      case HEADERS:
        this.#headers(bytes, start, end, flags, stream);
        return;
      case PRIORITY:
        if (length !== 5) {
          handler.onStreamError(
            new Http2Error(
              FRAME_SIZE_ERROR,
              `PRIORITY of ${length} bytes (RFC 9113 §6.3)`,
              stream,
            ),
          );
          return;
        }
        handler.onPriority(stream);
        return;
      case RST_STREAM:
        exactly(RST_STREAM, length, 4);
        handler.onRstStream(stream, uint32(bytes, start));
        return;
      case SETTINGS:
        if ((flags & FLAG_ACK) !== 0) {
          exactly(SETTINGS, length, 0);
          handler.onSettingsAck();
          return;
        }
        if (length % 6 !== 0) throw wrongSize(SETTINGS, length);
        handler.onSettings(bytes, start, end);
        return;
      case PUSH_PROMISE:
        // No client may send it, and as a client we always forbid it.
        throw protocol("PUSH_PROMISE, which was not allowed (RFC 9113 §6.6, §8.4)");
      case PING:
        exactly(PING, length, 8);
        handler.onPing((flags & FLAG_ACK) !== 0, bytes, start);
        return;
      case GOAWAY:
        if (length < 8) throw wrongSize(GOAWAY, length);
        handler.onGoaway(uint31(bytes, start), uint32(bytes, start + 4), bytes, start + 8, end);
        return;
      case WINDOW_UPDATE: {
        exactly(WINDOW_UPDATE, length, 4);
        const increment = uint31(bytes, start);
        if (increment > 0) {
          handler.onWindowUpdate(stream, increment);
          return;
        }
        const error = new Http2Error(
          PROTOCOL_ERROR,
          "WINDOW_UPDATE by 0 (RFC 9113 §6.9)",
          stream,
        );
        if (stream === 0) throw error;
        handler.onStreamError(error);
        return;
      }
      default:
        this.#continuation(bytes, start, end, flags);
    }
  }

  #headers(bytes: Uint8Array, start: number, end: number, flags: number, stream: number): void {
    const first = start + (flags & FLAG_PADDED ? 1 : 0) + (flags & FLAG_PRIORITY ? 5 : 0);
    const last = unpadded(bytes, start, first, end, flags, HEADERS);
    const endStream = (flags & FLAG_END_STREAM) !== 0;
    if ((flags & FLAG_END_HEADERS) !== 0) {
      if (last - first > this.#limits.blockBytes) throw this.#tooMuch("bytes");
      this.#handler.onHeaders(stream, bytes, first, last, endStream);
      return;
    }
    this.#open = stream;
    this.#openEndsStream = endStream;
    this.#continuations = 0;
    this.#append(bytes, first, last);
  }

  #continuation(bytes: Uint8Array, start: number, end: number, flags: number): void {
    if (this.#open === 0) throw protocol("CONTINUATION without HEADERS (RFC 9113 §6.10)");
    if (++this.#continuations > this.#limits.continuations) throw this.#tooMuch("CONTINUATION");
    this.#append(bytes, start, end);
    if ((flags & FLAG_END_HEADERS) === 0) return;
    const stream = this.#open;
    const block = this.#block;
    const length = this.#blockLength;
    this.#open = 0;
    this.#block = NO_BYTES;
    this.#blockLength = 0;
    this.#handler.onHeaders(stream, block, 0, length, this.#openEndsStream);
  }

  #append(bytes: Uint8Array, start: number, end: number): void {
    const length = this.#blockLength + end - start;
    if (length > this.#limits.blockBytes) throw this.#tooMuch("bytes");
    if (length > this.#block.length) {
      const next = new Uint8Array(Math.max(length, this.#block.length * 2));
      next.set(this.#block.subarray(0, this.#blockLength));
      this.#block = next;
    }
    this.#block.set(bytes.subarray(start, end), this.#blockLength);
    this.#blockLength = length;
  }

  #tooMuch(what: string): Http2Error {
    const { blockBytes, continuations } = this.#limits;
    return new Http2Error(
      ENHANCE_YOUR_CALM,
      what === "bytes"
        ? `a field block is longer than ${blockBytes} bytes`
        : `a field block comes in more than ${continuations} CONTINUATION frames`,
    );
  }
}

function unpadded(
  bytes: Uint8Array,
  start: number,
  first: number,
  end: number,
  flags: number,
  type: number,
): number {
  if (first > end) throw wrongSize(type, end - start);
  if ((flags & FLAG_PADDED) === 0) return end;
  const last = end - bytes[start]!;
  if (last < first) {
    throw protocol(`${FRAME_NAMES[type]} has more padding than payload (RFC 9113 §6)`);
  }
  return last;
}

function exactly(type: number, length: number, expected: number): void {
  if (length !== expected) throw wrongSize(type, length);
}

function wrongSize(type: number, length: number): Http2Error {
  return new Http2Error(FRAME_SIZE_ERROR, `${FRAME_NAMES[type]} of ${length} bytes (RFC 9113 §6)`);
}

function protocol(what: string): Http2Error {
  return new Http2Error(PROTOCOL_ERROR, what);
}

/** Reads 31 bits; the reserved one is ignored (RFC 9113 §4.1). */
export function uint31(bytes: Uint8Array, at: number): number {
  return (bytes[at]! & 127) << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!;
}

/** Reads 32 bits. */
export function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}
