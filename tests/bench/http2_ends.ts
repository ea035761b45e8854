/**
 * The ends of HTTP/2 connections that the bench holds itself. Frames are made once and only get other numbers, so that
 * what is measured is the proxy.
 *
 * @module
 */
import {
  DATA,
  FLAG_END_STREAM,
  FRAME_HEADER_BYTES,
  HEADERS,
  PREFACE,
  SETTINGS,
  SETTINGS_MAX_CONCURRENT_STREAMS,
  WINDOW_UPDATE,
} from "../../src/http2/constants.ts";
import {
  finishHeaders,
  writeFrameHeader,
  writeSettings,
  writeSettingsAck,
  writeWindowUpdate,
} from "../../src/http2/frame_writer.ts";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { uint31 } from "../../src/http2/frame_reader.ts";
import type { MemorySocket } from "./memory_socket.ts";

/** Name and value, pseudo-fields first. */
export type FieldPairs = readonly (readonly [name: string, value: string])[];

const STREAM_NUMBER = 5;

/** A client that asks for the same, on so many streams at a time. */
export class Http2Client {
  /** Answers that have come whole. */
  answered = 0;
  readonly #socket: MemorySocket;
  readonly #encoder = new HpackEncoder();
  readonly #fields: FieldPairs;
  readonly #opening: Uint8Array;
  readonly #round: Uint8Array;
  #nextStream = 1;

  /** @param window How many bytes the answers of a round may have, which are given back with the next one. */
  constructor(socket: MemorySocket, fields: FieldPairs, streams: number, window: number) {
    this.#socket = socket;
    this.#fields = fields;
    const opening = new Uint8Array(4096);
    opening.set(PREFACE);
    let end = writeSettings(opening, PREFACE.length, []);
    end = writeSettingsAck(opening, end);
    end = this.#request(opening, end);
    this.#opening = opening.subarray(0, end);
    const round = new Uint8Array(64 * 1024);
    end = writeWindowUpdate(round, 0, 0, window);
    for (let i = 0; i < streams; i++) end = this.#request(round, end);
    this.#round = round.subarray(0, end);
  }

  /** Sends a first request, with all fields in full. */
  open(): void {
    this.#number(this.#opening, PREFACE.length);
    this.#socket.deliver(this.#opening);
  }

  /** Sends as many requests as there may be at a time. */
  ask(): void {
    this.#number(this.#round, 0);
    this.#socket.deliver(this.#round);
  }

  /** To be called with what the proxy writes. */
  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const type = bytes[at + 3]!;
      if ((type === DATA || type === HEADERS) && (bytes[at + 4]! & FLAG_END_STREAM) !== 0) {
        this.answered++;
      } else if (type > HEADERS && type !== SETTINGS && type !== WINDOW_UPDATE) {
        throw new Error(`A frame of type ${type}: the proxy did not take the request`);
      }
      at += FRAME_HEADER_BYTES + lengthAt(bytes, at);
    }
  }

  #request(out: Uint8Array, position: number): number {
    const end = writeFields(this.#encoder, out, position + FRAME_HEADER_BYTES, this.#fields);
    return finishHeaders(out, position, end, 0, true, out.length);
  }

  #number(bytes: Uint8Array, at: number): void {
    while (at < bytes.length) {
      if (bytes[at + 3] === HEADERS) {
        setStream(bytes, at, this.#nextStream);
        this.#nextStream += 2;
      }
      at += FRAME_HEADER_BYTES + lengthAt(bytes, at);
    }
  }
}

/** An origin that gives the same answer to everything. */
export class Http2Origin {
  readonly #encoder = new HpackEncoder();
  readonly #answer: Uint8Array;
  readonly #first: Uint8Array;
  readonly #asked: number[] = [];
  #answered = 0;

  constructor(fields: FieldPairs, content: Uint8Array) {
    const make = () => {
      const out = new Uint8Array(4096);
      let end = writeFields(this.#encoder, out, FRAME_HEADER_BYTES, fields);
      end = finishHeaders(out, 0, end, 0, false, out.length);
      end = writeFrameHeader(out, end, content.length, DATA, FLAG_END_STREAM, 0);
      out.set(content, end);
      return out.subarray(0, end + content.length);
    };
    this.#first = make();
    this.#answer = make();
  }

  /** What it says first. */
  static opening(streams: number): Uint8Array {
    const out = new Uint8Array(64);
    const end = writeSettings(out, 0, [SETTINGS_MAX_CONCURRENT_STREAMS, streams]);
    return out.subarray(0, writeSettingsAck(out, end));
  }

  /** How many requests are without an answer. */
  get waiting(): number {
    return this.#asked.length;
  }

  /** To be called with what the proxy writes. */
  take(bytes: Uint8Array): void {
    for (let at = bytes[0] === PREFACE[0] ? PREFACE.length : 0; at < bytes.length;) {
      if (bytes[at + 3] === HEADERS) this.#asked.push(uint31(bytes, at + STREAM_NUMBER));
      at += FRAME_HEADER_BYTES + lengthAt(bytes, at);
    }
  }

  /** The answers to all that was asked. */
  answers(): Uint8Array {
    const out = new Uint8Array(this.#asked.length * this.#first.length);
    let end = 0;
    for (const stream of this.#asked.splice(0)) {
      const answer = this.#answered++ === 0 ? this.#first : this.#answer;
      setStream(answer, 0, stream);
      setStream(answer, FRAME_HEADER_BYTES + lengthAt(answer, 0), stream);
      out.set(answer, end);
      end += answer.length;
    }
    return out.subarray(0, end);
  }
}

function writeFields(
  encoder: HpackEncoder,
  out: Uint8Array,
  position: number,
  fields: FieldPairs,
): number {
  position = encoder.begin(out, position);
  for (const [name, value] of fields) position = encoder.field(out, position, name, value);
  return position;
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 16 | bytes[at + 1]! << 8 | bytes[at + 2]!;
}

function setStream(bytes: Uint8Array, at: number, stream: number): void {
  bytes[at + STREAM_NUMBER] = stream >>> 24;
  bytes[at + STREAM_NUMBER + 1] = stream >>> 16;
  bytes[at + STREAM_NUMBER + 2] = stream >>> 8;
  bytes[at + STREAM_NUMBER + 3] = stream;
}
