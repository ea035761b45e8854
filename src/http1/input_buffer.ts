/**
 * What was received on a connection and not yet consumed.
 *
 * A head and pieces of content are used where they were received. So a buffer that somebody still looks into
 * is put aside when more must be read, and given back when the exchange is over. From `window` to `commit`
 * the buffer stays where it is, for the engine may be writing into it.
 *
 * @module
 */
import { giveBuffer, NO_BUFFER, SMALL_BUFFER, takeBuffer } from "../base/buffer_pool.ts";

/** What an array that nothing was put into yet stands for. */
const NONE: Uint8Array[] = [];

/** The receiving side of a connection. */
export class InputBuffer {
  bytes: Uint8Array = NO_BUFFER;
  start = 0;
  end = 0;
  #frozen = false;
  #headHere = false;
  #viewHere = false;
  #aside: Uint8Array[] = NONE;

  /** Bytes received and not consumed. */
  get size(): number {
    return this.end - this.start;
  }

  /** Whether no byte more had a place: whoever read may have left some behind. */
  get full(): boolean {
    return this.end > 0 && this.end === this.bytes.length;
  }

  /** Passes over `length` bytes. */
  consume(length: number): void {
    this.start += length;
  }

  /** Drops everything that was not consumed. */
  clear(): void {
    this.start = this.end;
  }

  /** Says that the bytes in front of what is unread hold a head that is in use until `releaseHeld`. */
  holdHead(): void {
    this.#headHere = true;
  }

  /** Says that a view of these bytes was handed out; it is in use until `dropView` or `releaseHeld`. */
  holdView(): void {
    this.#viewHere = true;
  }

  /** Says that the view handed out last is not used any more. */
  dropView(): void {
    this.#viewHere = false;
  }

  /**
   * Where the next bytes go.
   *
   * @param size Capacity of the buffer to use if nothing is unread.
   * @param most Most bytes wanted.
   */
  window(size: number, most: number = Infinity): Uint8Array {
    if (!this.#frozen) this.#makeRoom(size);
    this.#frozen = true;
    const { bytes, end } = this;
    return end === 0 && most >= bytes.length
      ? bytes
      : bytes.subarray(end, Math.min(bytes.length, end + most));
  }

  /** Takes note that `length` bytes were put into the window. */
  commit(length: number): void {
    this.#frozen = false;
    this.end += length;
  }

  /**
   * Gives back everything that was held for an exchange. Heads and views of it are void from now on.
   *
   * @param keepsSmall Whether a small buffer is kept for what comes next: for an engine that wants one before it knows
   * of anything. Default `true`.
   */
  releaseHeld(keepsSmall: boolean = true): void {
    if (this.#aside.length > 0) {
      for (const bytes of this.#aside) giveBuffer(bytes);
      this.#aside = NONE;
    }
    this.#headHere = false;
    this.#viewHere = false;
    if (this.#frozen || this.start !== this.end) return;
    if (!keepsSmall || this.bytes.length > SMALL_BUFFER) this.#replace(NO_BUFFER);
    this.start = this.end = 0;
  }

  /** Gives back all buffers, except one that the engine may still write into. */
  dispose(): void {
    this.start = this.end;
    this.releaseHeld();
    if (!this.#frozen) giveBuffer(this.bytes);
    this.bytes = NO_BUFFER;
    this.start = this.end = 0;
    this.#frozen = false;
  }

  #makeRoom(size: number): void {
    const unread = this.size;
    if (this.#headHere || this.#viewHere) {
      if (this.#aside === NONE) this.#aside = [];
      this.#aside.push(this.bytes);
      this.#headHere = false;
      this.#viewHere = false;
      this.#moveTo(takeBuffer(Math.max(size, unread + 1)));
    } else if (unread === 0) {
      this.start = this.end = 0;
      if (
        this.bytes.length < size || (this.bytes.length > size && this.bytes.length > SMALL_BUFFER)
      ) this.#replace(takeBuffer(size));
    } else if (this.end === this.bytes.length) {
      if (this.start > 0) {
        this.bytes.copyWithin(0, this.start, this.end);
        this.start = 0;
        this.end = unread;
      } else {
        const old = this.bytes;
        this.#moveTo(takeBuffer(old.length * 2));
        giveBuffer(old);
      }
    }
  }

  #moveTo(next: Uint8Array): void {
    const unread = this.size;
    if (unread > 0) next.set(this.bytes.subarray(this.start, this.end));
    this.bytes = next;
    this.start = 0;
    this.end = unread;
  }

  #replace(next: Uint8Array): void {
    giveBuffer(this.bytes);
    this.bytes = next;
  }
}
