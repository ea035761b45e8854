/**
 * Which stream sends next: those that have content take turns, one frame each.
 *
 * @module
 */
import { BLOCKED, type Http2Stream, MORE } from "./stream.ts";

/** What is sent into, and may be full. */
export interface Room {
  readonly output: { readonly full: boolean };
  readonly sendWindow: { readonly available: number };
}

/** Turns that were had are forgotten in bulk. */
const FORGET_AFTER = 256;

/** Streams that have content and only wait for their turn. */
export class Turns {
  readonly #room: Room;
  readonly #streams: Http2Stream[] = [];
  #next = 0;

  constructor(room: Room) {
    this.#room = room;
  }

  /** Whether a stream waits. */
  get waiting(): boolean {
    return this.#streams.length > 0;
  }

  /** Puts a stream behind those that wait. */
  add(stream: Http2Stream): void {
    if (stream.queued) return;
    stream.queued = true;
    this.#streams.push(stream);
  }

  /** Lets streams send as long as there is room. */
  run(): void {
    const streams = this.#streams;
    const { output, sendWindow } = this.#room;
    while (this.#next < streams.length && !output.full && sendWindow.available > 0) {
      const stream = streams[this.#next]!;
      const came = stream.turn();
      if (came === BLOCKED) break;
      this.#next++;
      stream.queued = false;
      if (came === MORE) this.add(stream);
    }
    if (this.#next === streams.length) {
      streams.length = this.#next = 0;
    } else if (this.#next >= FORGET_AFTER) {
      streams.splice(0, this.#next);
      this.#next = 0;
    }
  }
}
