/**
 * The content of a request as attempts send it: what was read before comes first, the rest from the client.
 *
 * Two readers come before the upstream: a hook that wants to see all of it, and the attempt that failed. What
 * they took is kept here, within bounds, so that it is sent again. See Pingora's retry buffer.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Fields } from "../http/fields.ts";
import { ResponseHead } from "../http/message.ts";
import type { DownstreamSession } from "../http/session.ts";

const NOTHING = new Uint8Array(0);
const NO_TAPS: Tap[] = [];

/** Request content that can be read again as long as it was kept. */
export class RequestContent {
  readonly #downstream: DownstreamSession;
  /** What was read so far, in order, while it may be needed again. */
  #kept: Uint8Array[] | null = null;
  #keptBytes = 0;
  #limit = 0;
  /** Position in `#kept` of the attempt that reads now. */
  #next = 0;
  /** Whether something was read that is not kept. */
  #lost = false;
  #taps: Tap[] = NO_TAPS;

  constructor(downstream: DownstreamSession) {
    this.#downstream = downstream;
  }

  /**
   * Gives a copy of all content once it has been read by whoever reads it.
   *
   * @param limit Bytes. With more, or if the content is not read to its end, there is no copy.
   * @returns The content, or `null`.
   */
  tap(limit: number): Promise<Uint8Array | null> {
    if (this.#lost || this.#downstream.contentLength > limit) return Promise.resolve(null);
    const tap = new Tap(limit);
    for (const piece of this.#kept ?? []) tap.add(piece);
    if (this.#downstream.bodyDone) tap.end(true);
    else this.#taps = [...this.#taps, tap];
    return tap.content;
  }

  /** Whether an attempt could still send all of it. */
  get replayable(): boolean {
    return !this.#lost;
  }

  /** Whether there is nothing more for this attempt. */
  get done(): boolean {
    return (this.#kept === null || this.#next >= this.#kept.length) && this.#downstream.bodyDone;
  }

  /** Length if it is known, `-1` if not. */
  get length(): number {
    if (this.#downstream.bodyDone && this.#kept !== null && !this.#lost) return this.#keptBytes;
    return this.#downstream.contentLength;
  }

  /**
   * Begins an attempt: reading starts over.
   *
   * @param limit Bytes to keep for a further attempt.
   */
  rewind(limit: number): void {
    this.#next = 0;
    this.#limit = Math.max(limit, this.#keptBytes);
  }

  /** The next piece: a view that is good until the next call. Empty at the end. */
  read(): Uint8Array | Promise<Uint8Array> {
    if (this.#kept !== null && this.#next < this.#kept.length) return this.#kept[this.#next++]!;
    if (this.#downstream.bodyDone) return NOTHING;
    const piece = this.#downstream.readBody();
    return piece instanceof Promise ? piece.then((bytes) => this.#keep(bytes)) : this.#keep(piece);
  }

  /**
   * Reads all that is left; later reads see it again.
   *
   * @throws {RangeError} If there is more than `limit` bytes. What was read is kept all the same.
   */
  async readAll(limit: number): Promise<Uint8Array> {
    const tooLong = () =>
      new RangeError(`Cannot read the request content: it is longer than ${limit} bytes`);
    if (this.#lost) {
      throw new RangeError("Cannot read the request content: part of it has gone to the upstream");
    }
    if (this.#downstream.contentLength > limit) throw tooLong();
    // Nobody else would tell a client that waits: the upstream is not asked before this is over.
    if (this.#downstream.expectsContinue && this.#downstream.bodyBytes === 0) {
      this.#downstream.writeInformational(new ResponseHead(100, new Fields()));
    }
    // One piece beyond the limit is kept too, so that a refusal loses nothing.
    this.#limit = Infinity;
    while (!this.#downstream.bodyDone) {
      const piece = this.#downstream.readBody();
      this.#keep(piece instanceof Promise ? await piece : piece);
      if (this.#keptBytes > limit) throw tooLong();
    }
    this.#next = 0;
    if (this.#keptBytes > limit) throw tooLong();
    const all = new Uint8Array(this.#keptBytes);
    let position = 0;
    for (const piece of this.#kept ?? []) {
      all.set(piece, position);
      position += piece.length;
    }
    return all;
  }

  /** Forgets what was kept. */
  release(): void {
    for (const tap of this.#taps) tap.end(this.#downstream.bodyDone);
    this.#taps = NO_TAPS;
    this.#forget();
  }

  #forget(): void {
    this.#kept = null;
    this.#keptBytes = 0;
    this.#next = 0;
  }

  #keep(piece: Uint8Array): Uint8Array {
    for (const tap of this.#taps) {
      tap.add(piece);
      if (this.#downstream.bodyDone) tap.end(true);
    }
    if (this.#lost || piece.length === 0) return piece;
    if (this.#keptBytes + piece.length > this.#limit) {
      this.#lost = true;
      this.#forget();
      return piece;
    }
    // A copy: the codec reads the next piece over this one.
    const kept = this.#kept ??= [];
    kept.push(piece.slice());
    this.#keptBytes += piece.length;
    this.#next = kept.length;
    return piece;
  }
}

/** Gathers a copy of content as it passes by. */
class Tap {
  readonly content: Promise<Uint8Array | null>;
  readonly #limit: number;
  #resolve!: (content: Uint8Array | null) => void;
  #pieces: Uint8Array[] | null = [];
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
    this.content = new Promise((resolve) => this.#resolve = resolve);
  }

  add(piece: Uint8Array): void {
    if (this.#pieces === null || piece.length === 0) return;
    this.#length += piece.length;
    if (this.#length > this.#limit) this.end(false);
    else this.#pieces.push(piece.slice());
  }

  end(complete: boolean): void {
    const pieces = this.#pieces;
    if (pieces === null) return;
    this.#pieces = null;
    if (!complete) return this.#resolve(null);
    const content = new Uint8Array(this.#length);
    let position = 0;
    for (const piece of pieces) {
      content.set(piece, position);
      position += piece.length;
    }
    this.#resolve(content);
  }
}

/** The error for content that would have to be sent again and cannot. */
export function notReplayable(cause: ProxyError): ProxyError {
  return new ProxyError(cause.type, `${cause.message}; its content is too long to be sent again`, {
    source: cause.source,
    cause: cause.cause,
  });
}
