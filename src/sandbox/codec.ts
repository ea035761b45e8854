/**
 * Messages as bytes: a tag per value, and behind it what the tag says.
 *
 * Written for this and not V8's serialisation, because that one was not made to be read from a stranger; and
 * not JSON, because a call is mostly bytes already. Text is a byte per character where it can be.
 *
 * @module
 */
import { latin1 } from "../http/fields.ts";
import type { FrameWriter } from "./frame_writer.ts";
import { ProtocolError } from "./protocol.ts";
import { isBytes } from "./values.ts";

const UNDEFINED = 0;
const NULL = 1;
const FALSE = 2;
const TRUE = 3;
/** 32 bits. */
const INT = 4;
const DOUBLE = 5;
/** Length in characters, a byte each. */
const NARROW = 6;
/** Length in characters, two bytes each. */
const WIDE = 7;
/** Length, bytes. */
const BYTES = 8;
/** Number of entries, entries. */
const LIST = 9;
/** Number of properties; name and value of each. */
const OBJECT = 10;
/** Milliseconds as a double. */
const DATE = 11;
/** A narrow text of hexadecimal digits. */
const BIGINT = 12;
/** The session of a call; only toward a sandbox. */
export const SNAPSHOT = 13;

const MAX_DEPTH = 24;
/** Hexadecimal digits of a bigint. */
const MAX_DIGITS = 100_000;

/** Reads what stands behind a {@linkcode SNAPSHOT}. */
export type SnapshotDecoder = (reader: ValueReader) => unknown;

/**
 * Writes a message of plain data as one frame.
 *
 * @throws {TypeError} If it holds anything else. Nothing is written then.
 */
export function encodeMessage(out: FrameWriter, message: readonly unknown[]): void {
  out.begin();
  try {
    writeValue(out, message);
  } catch (error) {
    out.abandon();
    throw error;
  }
  out.end();
}

/** Begins a list whose entries are written one by one. */
export function writeListHead(out: FrameWriter, length: number): void {
  out.byte(LIST);
  out.int(length);
}

/**
 * Writes a value.
 *
 * @throws {TypeError} If it is no plain data, or nested more than 24 levels deep.
 */
export function writeValue(out: FrameWriter, value: unknown, depth: number = 0): void {
  switch (typeof value) {
    case "undefined":
      return out.byte(UNDEFINED);
    case "boolean":
      return out.byte(value ? TRUE : FALSE);
    case "number":
      if ((value | 0) === value && !Object.is(value, -0)) {
        out.byte(INT);
        return out.int(value);
      }
      out.byte(DOUBLE);
      return out.double(value);
    case "string":
      return writeText(out, value);
    case "bigint":
      out.byte(BIGINT);
      return void writeNarrow(out, value.toString(16));
    case "object":
      return value === null ? out.byte(NULL) : writeObject(out, value, depth);
    default:
      throw new TypeError(`Cannot send a ${typeof value}: it is no plain data`);
  }
}

/** Writes a text. */
function writeText(out: FrameWriter, text: string): void {
  const start = out.position;
  out.byte(NARROW);
  if (writeNarrow(out, text)) return;
  out.position = start;
  out.byte(WIDE);
  out.int(text.length);
  out.wide(text);
}

function writeNarrow(out: FrameWriter, text: string): boolean {
  out.int(text.length);
  return out.narrow(text);
}

function writeObject(out: FrameWriter, value: object, depth: number): void {
  if (depth >= MAX_DEPTH) {
    throw new TypeError(
      `Cannot send what is nested more than ${MAX_DEPTH} levels deep: it is no plain data`,
    );
  }
  if (Array.isArray(value)) {
    writeListHead(out, value.length);
    for (let i = 0; i < value.length; i++) writeValue(out, value[i], depth + 1);
    return;
  }
  if (isBytes(value)) {
    out.byte(BYTES);
    out.int(value.byteLength);
    return out.raw(value);
  }
  if (value instanceof Date) {
    out.byte(DATE);
    return out.double(value.getTime());
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) {
    throw new TypeError("Cannot send an object of a class: it is no plain data");
  }
  const keys = Object.keys(value);
  out.byte(OBJECT);
  out.int(keys.length);
  for (const key of keys) {
    writeText(out, key);
    writeValue(out, (value as Record<string, unknown>)[key], depth + 1);
  }
}

/**
 * Reads a message.
 *
 * @param snapshots Reads what calls hold, if there may be calls.
 * @throws {ProtocolError} If it is not what `encodeMessage` writes.
 */
export function decodeMessage(
  bytes: Uint8Array<ArrayBuffer>,
  from: number,
  to: number,
  snapshots: SnapshotDecoder | null = null,
): unknown[] {
  const reader = new ValueReader(bytes, from, to, snapshots);
  const message = reader.value(0);
  if (!Array.isArray(message)) throw new ProtocolError("a frame holds no message");
  if (reader.position !== to) throw new ProtocolError("a frame is longer than its message");
  return message;
}

/** Reads values, none of them beyond its end. */
export class ValueReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #end: number;
  readonly #snapshots: SnapshotDecoder | null;
  position: number;

  constructor(
    bytes: Uint8Array<ArrayBuffer>,
    from: number,
    to: number,
    snapshots: SnapshotDecoder | null,
  ) {
    this.#bytes = bytes;
    this.#end = to;
    this.#snapshots = snapshots;
    this.position = from;
  }

  /** @throws {ProtocolError} If there is none, or it is nested too deeply. */
  value(depth: number): unknown {
    const tag = this.byte();
    switch (tag) {
      case UNDEFINED:
        return undefined;
      case NULL:
        return null;
      case FALSE:
        return false;
      case TRUE:
        return true;
      case INT:
        return this.int();
      case DOUBLE:
        return this.double();
      case NARROW:
      case WIDE:
        return this.#text(tag);
      case BYTES:
        return this.bytes(this.int());
      case LIST:
        return this.#list(depth);
      case OBJECT:
        return this.#object(depth);
      case DATE:
        return new Date(this.double());
      case BIGINT:
        return this.#bigint();
      case SNAPSHOT:
        if (this.#snapshots !== null) return this.#snapshots(this);
    }
    throw new ProtocolError("a message holds a value that has no meaning");
  }

  byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  int(): number {
    const b = this.#bytes;
    const i = this.#take(4);
    return b[i]! | (b[i + 1]! << 8) | (b[i + 2]! << 16) | (b[i + 3]! << 24);
  }

  double(): number {
    const start = this.#take(8);
    for (let i = 0; i < 8; i++) SCRATCH_BYTES[i] = this.#bytes[start + i]!;
    return SCRATCH.getFloat64(0, true);
  }

  /** A copy of so many bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const start = this.#take(length);
    return this.#bytes.slice(start, this.position);
  }

  /** What is read from. With snapshots, its bytes stay as they are. */
  get source(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Steps over so many bytes; says where they begin in `source`. */
  skip(length: number): number {
    return this.#take(length);
  }

  /** A text of known length, a byte per character. */
  narrow(length: number): string {
    const start = this.#take(length);
    return shortText(this.#bytes, start, length);
  }

  /** A text of known length, two bytes per character. */
  wide(length: number): string {
    const start = this.#take(length * 2);
    let text = "";
    for (let i = start; i < this.position; i += 2) {
      text += String.fromCharCode(this.#bytes[i]! | (this.#bytes[i + 1]! << 8));
    }
    return text;
  }

  #text(tag: number): string {
    const length = this.int();
    return tag === NARROW ? this.narrow(length) : this.wide(length);
  }

  #list(depth: number): unknown[] {
    const length = this.#count(depth);
    const list: unknown[] = [];
    for (let i = 0; i < length; i++) list.push(this.value(depth + 1));
    return list;
  }

  #object(depth: number): Record<string, unknown> {
    const length = this.#count(depth);
    const object: Record<string, unknown> = {};
    for (let i = 0; i < length; i++) {
      const tag = this.byte();
      if (tag !== NARROW && tag !== WIDE) throw new ProtocolError("a property has no name");
      const name = this.#text(tag);
      if (name === "__proto__") throw new ProtocolError("a message has a property named __proto__");
      object[name] = this.value(depth + 1);
    }
    return object;
  }

  #bigint(): bigint {
    const length = this.int();
    if (length > MAX_DIGITS) throw new ProtocolError("a bigint is too long");
    const text = this.narrow(length);
    if (!/^-?[0-9a-f]+$/.test(text)) throw new ProtocolError("a bigint is none");
    return text.startsWith("-") ? -BigInt(`0x${text.slice(1)}`) : BigInt(`0x${text}`);
  }

  /** How many values follow: each takes a byte at least. */
  #count(depth: number): number {
    if (depth >= MAX_DEPTH) throw new ProtocolError("a message is nested too deeply");
    const length = this.int();
    if (length < 0 || length > this.#end - this.position) {
      throw new ProtocolError("a message is shorter than it says");
    }
    return length;
  }

  /** Steps over so many bytes; says where they begin. */
  #take(length: number): number {
    const start = this.position;
    if (length < 0 || length > this.#end - start) {
      throw new ProtocolError("a message is shorter than it says");
    }
    this.position = start + length;
    return start;
  }
}

/** Texts up to this length are remembered: */
const SHORT = 32;
/** the last one for each mixture of a few of its characters. */
const LATEST: string[] = new Array(256).fill("");

/** A text that may well have come before: hooks set the same fields again and again. */
function shortText(bytes: Uint8Array, start: number, length: number): string {
  if (length === 0) return "";
  const end = start + length;
  if (length > SHORT) return latin1(bytes, start, end);
  const mixture = bytes[start]! * 31 + bytes[end - 1]! * 7 + bytes[start + (length >> 1)]! + length;
  const known = LATEST[mixture & 255]!;
  if (known.length === length) {
    let i = 0;
    while (i < length && known.charCodeAt(i) === bytes[start + i]!) i++;
    if (i === length) return known;
  }
  return LATEST[mixture & 255] = latin1(bytes, start, end);
}

const SCRATCH = new DataView(new ArrayBuffer(8));
const SCRATCH_BYTES = new Uint8Array(SCRATCH.buffer);
