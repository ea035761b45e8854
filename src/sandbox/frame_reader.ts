/**
 * Cuts a stream of bytes into frames, and gives the messages in them.
 *
 * @module
 */
import { decodeMessage, type SnapshotDecoder } from "./codec.ts";
import { PREFIX } from "./frame_writer.ts";
import { ProtocolError } from "./protocol.ts";

/** Bytes that a reader begins with. What lies in a piece of this size may be kept there; longer ones are too much. */
export const FIRST_SIZE: number = 16 * 1024;
/** With less room than this at the end of a piece that stays as it is, another is begun. */
const LEAST_ROOM = 1024;
/** A reader that grew beyond this lets go of its memory once it is empty. */
const KEPT_SIZE: number = 1024 * 1024;

/** Reads frames out of bytes that come in pieces of any length. */
export class FrameReader {
  readonly #most: number;
  readonly #snapshots: SnapshotDecoder | null;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_SIZE);
  #start = 0;
  #end = 0;

  /**
   * @param most Bytes that one frame may have.
   * @param snapshots Reads what calls hold. Only for a side that gets calls. Snapshots stay where they came: no byte is
   * ever written over then.
   */
  constructor(most: number, snapshots: SnapshotDecoder | null = null) {
    this.#most = most;
    this.#snapshots = snapshots;
  }

  /** Where the next bytes go. Never empty; as long as a multiple of four if all pieces were. */
  room(): Uint8Array<ArrayBuffer> {
    const stays = this.#snapshots !== null;
    if (this.#start === this.#end) this.#empty(stays);
    const waiting = this.#end - this.#start;
    const needed = waiting >= PREFIX ? this.#whole() : waiting + PREFIX;
    if (this.#bytes.length - this.#start < Math.max(needed, waiting + PREFIX)) {
      // Doubled, so that a long frame is not copied once per read; never by what a frame only claims.
      const grown = needed > waiting ? Math.min(needed, waiting * 2 + FIRST_SIZE) : waiting * 2;
      const size = Math.max(stays ? FIRST_SIZE : this.#bytes.length, (grown + 3) & ~3);
      if (stays || size > this.#bytes.length) {
        const larger = new Uint8Array(size);
        larger.set(this.#bytes.subarray(this.#start, this.#end));
        this.#bytes = larger;
      } else if (this.#start > 0) {
        this.#bytes.copyWithin(0, this.#start, this.#end);
      }
      this.#start = 0;
      this.#end = waiting;
    }
    return this.#bytes.subarray(this.#end);
  }

  /** `length` bytes were written into `room()`. */
  filled(length: number): void {
    this.#end += length;
  }

  /** Takes over bytes that came as they are. */
  feed(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      const room = this.room();
      const length = Math.min(room.length, bytes.length - from);
      room.set(bytes.subarray(from, from + length));
      this.#end += length;
      from += length;
    }
  }

  /**
   * The next message, or `null` if it is not whole yet.
   *
   * @throws {ProtocolError} If a frame is too long or malformed.
   */
  next(): unknown[] | null {
    if (this.#end - this.#start < PREFIX) return null;
    const length = this.#length();
    if (length > this.#most) throw new ProtocolError(`a frame of ${length} bytes is too long`);
    const whole = this.#whole();
    if (this.#end - this.#start < whole) return null;
    const from = this.#start + PREFIX;
    this.#start += whole;
    return decodeMessage(this.#bytes, from, from + length, this.#snapshots);
  }

  /** Nothing waits: goes on where there is room. */
  #empty(stays: boolean): void {
    const { length } = this.#bytes;
    if (stays && length === FIRST_SIZE && length - this.#end >= LEAST_ROOM) return;
    this.#start = this.#end = 0;
    if (stays || length > KEPT_SIZE) this.#bytes = new Uint8Array(FIRST_SIZE);
  }

  /** Bytes of the frame that comes next, with what stands around its message. */
  #whole(): number {
    return PREFIX + Math.ceil(this.#length() / 4) * 4;
  }

  #length(): number {
    const b = this.#bytes;
    const i = this.#start;
    return b[i]! + (b[i + 1]! << 8) + (b[i + 2]! << 16) + b[i + 3]! * 0x1000000;
  }
}
