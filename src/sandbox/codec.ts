/**
 * Messages as bytes, for sandboxes that are processes: JSON, with what JSON has not beside it.
 *
 * A frame is `length, length of the JSON, JSON, (length, bytes)*`, all lengths being 32-bit big-endian; the
 * first one counts all that follows it. In the JSON, `{"$": kind, "v": …}` stands for a value that JSON
 * lacks, and an object of the sender's that has a `$` of its own is wrapped likewise. JSON and not V8's
 * serialisation, because that one was not made to be read from a stranger.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProtocolError } from "./protocol.ts";
import { isBytes } from "./values.ts";

const MAX_DEPTH = 24;
/** Bytes before the JSON. */
const PREFIX = 8;

/** Writes a message of plain data as one frame. */
export function encodeFrame(message: unknown[]): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  const json = JSON.stringify(toJson(message, pieces));
  const jsonLength = Buffer.byteLength(json);
  let length = PREFIX + jsonLength;
  for (const piece of pieces) length += 4 + piece.byteLength;
  const frame = Buffer.from(new ArrayBuffer(length));
  frame.writeUInt32BE(length - 4, 0);
  frame.writeUInt32BE(jsonLength, 4);
  frame.write(json, PREFIX, "utf8");
  let position = PREFIX + jsonLength;
  for (const piece of pieces) {
    frame.writeUInt32BE(piece.byteLength, position);
    frame.set(piece, position + 4);
    position += 4 + piece.byteLength;
  }
  return frame;
}

function toJson(value: unknown, pieces: Uint8Array[]): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      return { $: "number", v: Object.is(value, -0) ? "-0" : String(value) };
    case "undefined":
      return { $: "undefined" };
    case "bigint":
      return { $: "bigint", v: value.toString(16) };
    case "object":
      break;
    default:
      throw new TypeError(`Cannot send a ${typeof value}`);
  }
  if (value === null) return null;
  if (isBytes(value)) {
    pieces.push(value);
    return { $: "bytes", v: pieces.length - 1 };
  }
  if (value instanceof Date) return { $: "date", v: String(value.getTime()) };
  if (Array.isArray(value)) {
    const list = new Array(value.length);
    for (let i = 0; i < value.length; i++) list[i] = toJson(value[i], pieces);
    return list;
  }
  const object: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    object[key] = toJson((value as Record<string, unknown>)[key], pieces);
  }
  return Object.hasOwn(object, "$") ? { $: "object", v: object } : object;
}

/**
 * Reads the body of a frame, which is all behind its first length.
 *
 * @throws {ProtocolError} If it is not what `encodeFrame` writes.
 */
export function decodeFrame(body: Uint8Array): unknown[] {
  const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (view.length < 4) throw new ProtocolError("a frame is too short");
  const jsonLength = view.readUInt32BE(0);
  if (jsonLength > view.length - 4) throw new ProtocolError("a frame is shorter than it says");
  let parsed: unknown;
  try {
    parsed = JSON.parse(view.toString("utf8", 4, 4 + jsonLength));
  } catch {
    throw new ProtocolError("a frame holds no JSON");
  }
  const pieces: Uint8Array[] = [];
  for (let position = 4 + jsonLength; position < view.length;) {
    if (view.length - position < 4) throw new ProtocolError("a frame ends within a length");
    const length = view.readUInt32BE(position);
    position += 4;
    if (length > view.length - position) throw new ProtocolError("a frame is shorter than it says");
    pieces.push(new Uint8Array(view.subarray(position, position + length)));
    position += length;
  }
  if (!Array.isArray(parsed)) throw new ProtocolError("a frame holds no message");
  return fromJson(parsed, pieces, 0) as unknown[];
}

function fromJson(value: unknown, pieces: readonly Uint8Array[], depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) throw new ProtocolError("a message is nested too deeply");
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = fromJson(value[i], pieces, depth + 1);
    return value;
  }
  const object = value as Record<string, unknown>;
  if (Object.hasOwn(object, "$")) return special(object, pieces, depth);
  return fromObject(object, pieces, depth);
}

function fromObject(
  object: Record<string, unknown>,
  pieces: readonly Uint8Array[],
  depth: number,
): Record<string, unknown> {
  for (const key of Object.keys(object)) {
    if (key === "__proto__") throw new ProtocolError("a message has a property named __proto__");
    object[key] = fromJson(object[key], pieces, depth + 1);
  }
  return object;
}

function special(
  object: Record<string, unknown>,
  pieces: readonly Uint8Array[],
  depth: number,
): unknown {
  const { $: kind, v } = object;
  switch (kind) {
    case "undefined":
      return undefined;
    case "bytes":
      if (typeof v === "number" && Object.hasOwn(pieces, v)) return pieces[v];
      break;
    case "number":
      if (v === "NaN" || v === "Infinity" || v === "-Infinity" || v === "-0") return Number(v);
      break;
    case "bigint":
      if (typeof v === "string" && /^-?[0-9a-f]{1,100000}$/.test(v)) {
        return v.startsWith("-") ? -BigInt(`0x${v.slice(1)}`) : BigInt(`0x${v}`);
      }
      break;
    case "date":
      if (typeof v === "string" && /^(?:-?\d{1,16}|NaN)$/.test(v)) return new Date(Number(v));
      break;
    case "object":
      if (typeof v === "object" && v !== null && !Array.isArray(v)) {
        return fromObject(v as Record<string, unknown>, pieces, depth + 1);
      }
      break;
  }
  throw new ProtocolError("a message holds a value that has no meaning");
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #most: number;
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(16 * 1024);
  #start = 0;
  #end = 0;

  /** @param most Bytes that one frame may have. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Where the next bytes go. Never empty. */
  room(): Uint8Array<ArrayBuffer> {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    const waiting = this.#end - this.#start;
    const needed = waiting >= 4 ? 4 + this.#length() : waiting + 1;
    if (this.#buffer.length - this.#start < Math.max(needed, waiting + 1)) {
      // Doubled, so that a long frame is not copied once per read; never by what a frame only claims.
      const size = Math.max(this.#buffer.length, Math.min(needed, waiting * 2 + 16 * 1024));
      if (size > this.#buffer.length) {
        const larger = new Uint8Array(size);
        larger.set(this.#buffer.subarray(this.#start, this.#end));
        this.#buffer = larger;
      } else if (this.#start > 0) {
        this.#buffer.copyWithin(0, this.#start, this.#end);
      }
      this.#start = 0;
      this.#end = waiting;
    }
    return this.#buffer.subarray(this.#end);
  }

  /** `length` bytes were written into `room()`. */
  filled(length: number): void {
    this.#end += length;
  }

  /**
   * The next message, or `null` if it is not whole yet.
   *
   * @throws {ProtocolError} If a frame is too long or malformed.
   */
  next(): unknown[] | null {
    const waiting = this.#end - this.#start;
    if (waiting < 4) return null;
    const length = this.#length();
    if (length > this.#most) throw new ProtocolError(`a frame of ${length} bytes is too long`);
    if (waiting < 4 + length) return null;
    const from = this.#start + 4;
    this.#start = from + length;
    return decodeFrame(this.#buffer.subarray(from, from + length));
  }

  #length(): number {
    const b = this.#buffer;
    const i = this.#start;
    return b[i]! * 0x1000000 + (b[i + 1]! << 16) + (b[i + 2]! << 8) + b[i + 3]!;
  }
}
