/**
 * Bytes of messages on their way out: one frame per message, one after the other.
 *
 * A frame is its length, the message, and zeros up to the next multiple of four; numbers are little-endian.
 * The length counts the message alone.
 *
 * @module
 */
import type { Fields } from "../http/fields.ts";
import { LINE } from "./field_lines.ts";
import { writeLines } from "./line_writer.ts";

const FIRST_SIZE = 4096;
/** A writer that grew beyond this lets go of its memory once it is empty. */
const KEPT_SIZE: number = 1024 * 1024;
/** Bytes before the message. */
export const PREFIX = 4;

/** Collects frames. Its memory is used again. */
export class FrameWriter {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_SIZE);
  #view: DataView = new DataView(this.#bytes.buffer);
  #start = 0;
  /** Where the next byte goes. */
  position = 0;

  /** What was written, up to `position`. Another one once the writer has grown. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Begins a frame. */
  begin(): void {
    this.#start = this.position;
    this.reserve(PREFIX);
    this.position += PREFIX;
  }

  /** Ends the frame. */
  end(): void {
    this.#view.setUint32(this.#start, this.position - this.#start - PREFIX, true);
    const rest = -this.position & 3;
    this.reserve(rest);
    for (let i = 0; i < rest; i++) this.#bytes[this.position++] = 0;
  }

  /** Forgets the frame that was begun. */
  abandon(): void {
    this.position = this.#start;
  }

  /** Forgets everything. */
  clear(): void {
    this.position = 0;
    if (this.#bytes.length <= KEPT_SIZE) return;
    this.#bytes = new Uint8Array(FIRST_SIZE);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Drops the first `length` bytes, which have been sent. */
  drop(length: number): void {
    this.#bytes.copyWithin(0, length, this.position);
    this.position -= length;
  }

  /** Makes room for so many bytes. */
  reserve(length: number): void {
    const needed = this.position + length;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.position));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }

  byte(value: number): void {
    this.reserve(1);
    this.#bytes[this.position++] = value;
  }

  int(value: number): void {
    this.reserve(4);
    this.#view.setInt32(this.position, value, true);
    this.position += 4;
  }

  /** Writes a number over one that stands there already. */
  intAt(position: number, value: number): void {
    this.#view.setInt32(position, value, true);
  }

  double(value: number): void {
    this.reserve(8);
    this.#view.setFloat64(this.position, value, true);
    this.position += 8;
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.#bytes.set(bytes, this.position);
    this.position += bytes.length;
  }

  /** Writes a text, a byte per character; says whether it could be. If not, nothing was written. */
  narrow(text: string): boolean {
    const { length } = text;
    this.reserve(length);
    const bytes = this.#bytes;
    const { position } = this;
    for (let i = 0; i < length; i++) {
      const c = text.charCodeAt(i);
      if (c > 0xff) return false;
      bytes[position + i] = c;
    }
    this.position = position + length;
    return true;
  }

  /** Writes a text, two bytes per character. */
  wide(text: string): void {
    this.reserve(text.length * 2);
    for (let i = 0; i < text.length; i++) {
      this.#view.setUint16(this.position, text.charCodeAt(i), true);
      this.position += 2;
    }
  }

  /**
   * Writes the lengths of names and values of fields, and behind them their lines; see {@linkcode writeLines}.
   *
   * @returns The bytes of the lines.
   */
  lines(fields: Fields, base: Fields | null): number {
    const table = fields.size * LINE;
    this.reserve(table + fields.byteLength);
    const at = this.position;
    const start = at + table;
    this.position = writeLines(fields, this.#bytes, start, this.#view, at, base);
    return this.position - start;
  }
}
