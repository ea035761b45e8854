/**
 * Content that was received and not yet read: copied out of the connection's buffer, because that one is read
 * over for the other streams. The flow-control window bounds it.
 *
 * @module
 */
import { giveBuffer, NO_BUFFER, takeBuffer } from "../base/buffer_pool.ts";

/** The largest buffer; a piece that is read is never longer. */
const MOST_BYTES = 64 * 1024;

/** A queue of bytes, read in pieces as large as they lie. */
export class ReceiveQueue {
  #size = 0;
  /** Full buffers, then the one that is written to; `#first` is the one that is read. */
  #buffers: Uint8Array[] = [];
  #first = 0;
  #start = 0;
  /** Where bytes end in every buffer but the last. */
  #ends: number[] = [];
  #end = 0;

  /** Bytes that were not read. */
  get size(): number {
    return this.#size;
  }

  /** Puts a copy of `bytes[start, end)` at the end. */
  push(bytes: Uint8Array, start: number, end: number): void {
    this.#size += end - start;
    while (start < end) {
      const count = this.#buffers.length;
      let last = count === 0 ? NO_BUFFER : this.#buffers[count - 1]!;
      if (this.#end === last.length) {
        if (count > 0) this.#ends.push(this.#end);
        last = takeBuffer(Math.min(MOST_BYTES, Math.max(end - start, last.length * 2)));
        this.#buffers.push(last);
        this.#end = 0;
      }
      const length = Math.min(end - start, last.length - this.#end);
      last.set(
        start === 0 && length === bytes.length ? bytes : bytes.subarray(start, start + length),
        this.#end,
      );
      this.#end += length;
      start += length;
    }
  }

  /** The next piece, good until {@linkcode giveBack}; only if there is one. */
  take(): Uint8Array {
    const bytes = this.#buffers[this.#first]!;
    const end = this.#first === this.#buffers.length - 1 ? this.#end : this.#ends[this.#first]!;
    const piece = bytes.subarray(this.#start, end);
    this.#size -= piece.length;
    this.#start = end;
    return piece;
  }

  /** The piece that was taken is no longer looked at. */
  giveBack(): void {
    if (this.#size === 0) return this.clear();
    if (this.#start !== this.#ends[this.#first]) return;
    giveBuffer(this.#buffers[this.#first]!);
    this.#buffers[this.#first] = NO_BUFFER;
    this.#first++;
    this.#start = 0;
    // What was read is let go of in bulk, so that a long upload does not make a long list.
    if (this.#first < 16) return;
    this.#buffers.splice(0, this.#first);
    this.#ends.splice(0, this.#first);
    this.#first = 0;
  }

  /** Forgets what was not read, but keeps the piece that was taken until it is given back. */
  discard(): void {
    this.#size = 0;
  }

  /** Forgets everything. */
  clear(): void {
    for (let i = this.#first; i < this.#buffers.length; i++) giveBuffer(this.#buffers[i]!);
    this.#buffers.length = this.#ends.length = 0;
    this.#size =
      this.#first =
      this.#start =
      this.#end =
        0;
  }
}
