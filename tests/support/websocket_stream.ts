/**
 * One end of a WebSocket over any stream of bytes, frame by frame: for HTTP/2, which `ws` does not speak.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { DEADLINE, withDeadline } from "./deadline.ts";

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** A frame as it came, unmasked. */
export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** Frames over a stream. What clients send is masked. */
export class WebSocketStream {
  readonly stream: Duplex;
  /** How the other side ended, or `null` while it has not: by its FIN or END_STREAM, or by breaking off. */
  ended: "end" | "broken" | null = null;
  readonly #isClient: boolean;
  #buffered: Buffer = Buffer.alloc(0);
  #wake: (() => void) | null = null;

  constructor(stream: Duplex, isClient: boolean) {
    this.stream = stream;
    this.#isClient = isClient;
    stream.on("data", (bytes: Uint8Array) => {
      this.#buffered = Buffer.concat([this.#buffered, bytes]);
      this.#signal();
    });
    stream.on("end", () => this.#end("end"));
    stream.on("error", () => this.#end("broken"));
    stream.on("close", () => this.#end("broken"));
  }

  /** Sends a frame. */
  send(opcode: number, payload: string | Uint8Array = ""): void {
    const data = Buffer.from(payload as Uint8Array);
    const { length } = data;
    const head = length < 126 ? [length] : length < 65536 ? [126, length >> 8, length & 255] : [
      127,
      0,
      0,
      0,
      0,
      length >>> 24,
      length >>> 16 & 255,
      length >>> 8 & 255,
      length & 255,
    ];
    const mask = [0x12, 0x34, 0x56, 0x78];
    if (this.#isClient) {
      head[0]! |= 0x80;
      for (let i = 0; i < length; i++) data[i]! ^= mask[i & 3]!;
    }
    const start = [0x80 | opcode, ...head, ...(this.#isClient ? mask : [])];
    this.stream.write(Buffer.concat([Buffer.from(start), data]));
  }

  /** The next frame. */
  async next(ms: number = DEADLINE): Promise<Frame> {
    for (;;) {
      const frame = this.#take();
      if (frame !== null) return frame;
      if (this.ended !== null) throw new Error(`The WebSocket is over (${this.ended})`);
      const more = new Promise<void>((resolve) => this.#wake = resolve);
      await withDeadline(more, ms, "a frame");
    }
  }

  /** Waits until the other side has ended. */
  async whenEnded(ms: number = DEADLINE): Promise<"end" | "broken"> {
    while (this.ended === null) {
      const more = new Promise<void>((resolve) => this.#wake = resolve);
      await withDeadline(more, ms, "the end of the WebSocket");
    }
    return this.ended;
  }

  #take(): Frame | null {
    const bytes = this.#buffered;
    if (bytes.length < 2) return null;
    const masked = (bytes[1]! & 0x80) !== 0;
    let length = bytes[1]! & 0x7f;
    let at = 2;
    if (length === 126) {
      if (bytes.length < 4) return null;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return null;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    const mask = masked ? bytes.subarray(at, at + 4) : null;
    if (masked) at += 4;
    if (bytes.length < at + length) return null;
    const payload = Buffer.from(bytes.subarray(at, at + length));
    if (mask !== null) { for (let i = 0; i < length; i++) payload[i]! ^= mask[i & 3]!; }
    this.#buffered = bytes.subarray(at + length);
    return { opcode: bytes[0]! & 15, payload };
  }

  #end(how: "end" | "broken"): void {
    this.ended ??= how;
    this.#signal();
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

/** The payload of a close frame. */
export function closing(code: number, reason: string = ""): Buffer {
  return Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);
}
