/**
 * Finds out whether a head that came in pieces can be parsed now.
 *
 * Parsing again with every piece would cost a slow sender's victim quadratic time. So after one failed
 * attempt only the new bytes are searched, and the parser runs once more when its verdict is final: at the
 * end of the head, at a bare LF, or at the size limit. Errors wait for that, too; hence the verdict does not
 * depend on how the bytes were cut.
 *
 * @module
 */
import { CR, LF } from "../http/grammar.ts";

/** Watches one head after the other. */
export class HeadScanner {
  #scanned = 0;

  /** Begins with a new head. */
  reset(): void {
    this.#scanned = 0;
  }

  /**
   * Whether the parser's verdict on the head that begins at `start` is final.
   *
   * @param limit Most bytes that the head may have.
   */
  isDecided(bytes: Uint8Array, start: number, end: number, limit: number): boolean {
    if (end - start >= limit) return true;
    for (let at = start + this.#scanned; at < end; at++) {
      if (bytes[at] !== LF) continue;
      if (at === start || bytes[at - 1] !== CR) return true;
      if (at - 3 >= start && bytes[at - 2] === LF && bytes[at - 3] === CR) return true;
    }
    this.#scanned = end - start;
    return false;
  }
}
