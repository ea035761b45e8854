/**
 * What a connection reads into: large for a peer that fills it, small for one that trickles or rests.
 *
 * Nothing stays in it: the frame reader takes what it needs longer. So one buffer serves all reads.
 *
 * @module
 */
import {
  BODY_BUFFER,
  FIRST_BODY_BUFFER,
  giveBuffer,
  NO_BUFFER,
  SMALL_BUFFER,
  takeBuffer,
} from "../base/buffer_pool.ts";

/** The buffer of one connection. */
export class ReadBuffer {
  #bytes: Uint8Array = NO_BUFFER;
  #wanted = SMALL_BUFFER;

  /** Where the next bytes go. */
  window(): Uint8Array {
    if (this.#bytes.length !== this.#wanted) {
      giveBuffer(this.#bytes);
      this.#bytes = takeBuffer(this.#wanted);
    }
    return this.#bytes;
  }

  /**
   * The bytes of which `length` were put into the window.
   *
   * @param busy Whether more is to be expected at any moment.
   */
  received(length: number, busy: boolean): Uint8Array {
    const bytes = this.#bytes;
    if (length === bytes.length) {
      this.#wanted = BODY_BUFFER;
      return bytes;
    }
    if (length * 4 < bytes.length) this.#wanted = busy ? FIRST_BODY_BUFFER : SMALL_BUFFER;
    return bytes.subarray(0, length);
  }

  /**
   * Gives the buffer back.
   *
   * @param reading Whether an engine may still write into it; then it is left to the garbage collector.
   */
  dispose(reading: boolean): void {
    if (!reading) giveBuffer(this.#bytes);
    this.#bytes = NO_BUFFER;
  }
}
