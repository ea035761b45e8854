/**
 * Cuts a stream of bytes into frames, and gives the messages in them.
 *
 * @module
 */
import { decodeMessage, type SnapshotDecoder } from "./codec.ts";
import { PREFIX } from "./frame_writer.ts";
import { ProtocolError } from "./protocol.ts";

const FIRST_SIZE: number = 16 * 1024;
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
   * @param snapshots Reads what calls hold. Only for a side that gets calls.
   */
  constructor(most: number, snapshots: SnapshotDecoder | null = null) {
    this.#most = most;
    this.#snapshots = snapshots;
  }

  /** Where the next bytes go. Never empty; as long as a multiple of four if all pieces were. */
  room(): Uint8Array<ArrayBuffer> {
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      if (this.#bytes.length > KEPT_SIZE) this.#bytes = new Uint8Array(FIRST_SIZE);
    }
    const waiting = this.#end - this.#start;
    const needed = waiting >= PREFIX ? this.#whole() : waiting + PREFIX;
    if (this.#bytes.length - this.#start < Math.max(needed, waiting + PREFIX)) {
      // Doubled, so that a long frame is not copied once per read; never by what a frame only claims.
      const grown = Math.min(needed, waiting * 2 + FIRST_SIZE);
      const size = Math.max(this.#bytes.length, (grown + 3) & ~3);
      if (size > this.#bytes.length) {
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
