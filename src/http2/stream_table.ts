/**
 * The streams of one connection by number, and what is remembered of those that are over (RFC 9113 §5.1).
 *
 * @module
 */
import { PROTOCOL_ERROR } from "./constants.ts";
import { Http2Error } from "./error.ts";
import { Numbered } from "./numbered.ts";
import { Http2Stream, type StreamHost } from "./stream.ts";
import * as states from "./stream_state.ts";

/** How many resets are remembered. Frames of older streams are taken for a mistake of the peer. */
const REMEMBERED = 256;
const LAST_STREAM = 0x7fff_ffff;

/** Streams by number. */
export class StreamTable {
  /** The highest stream that the peer has opened, or tried to. */
  lastPeer = 0;
  /** The highest stream of the peer that was or may be processed: what GOAWAY says. */
  lastProcessed = 0;
  /** Streams that are open, or that somebody is still busy with. */
  live = 0;
  readonly #server: boolean;
  readonly #open = new Numbered<Http2Stream>();
  /** State of streams that were reset, the latest at the end. */
  readonly #reset = new Map<number, number>();
  #nextOwn: number;

  /** @param server Whether the peer is a client, whose streams have odd numbers. */
  constructor(server: boolean) {
    this.#server = server;
    this.#nextOwn = server ? 2 : 1;
  }

  /** Whether there is no number left for another stream of ours. */
  get exhausted(): boolean {
    return this.#nextOwn > LAST_STREAM;
  }

  /** The stream of that number if it is not over. */
  get(id: number): Http2Stream | null {
    return this.#open.get(id);
  }

  /** All that are not over. */
  values(): Http2Stream[] {
    return this.#open.all;
  }

  /** Opens a stream of ours. */
  open(host: StreamHost): Http2Stream {
    const id = this.#nextOwn;
    this.#nextOwn += 2;
    return this.#add(host, id);
  }

  /**
   * Whether a peer's HEADERS on a stream that is not open opens it.
   *
   * @throws {Http2Error} If the peer may not open a stream of that number.
   */
  isNew(id: number): boolean {
    if (!this.#server) {
      if ((id & 1) === 0) throw new Http2Error(PROTOCOL_ERROR, `stream ${id} opened by a server`);
      return false;
    }
    if ((id & 1) === 0) {
      throw new Http2Error(PROTOCOL_ERROR, `stream ${id} opened by a client (RFC 9113 §5.1.1)`);
    }
    return id > this.lastPeer;
  }

  /** Takes a stream that the peer opens. */
  accept(host: StreamHost, id: number): Http2Stream {
    this.lastPeer = this.lastProcessed = id;
    return this.#add(host, id);
  }

  /** A stream is over. */
  end(stream: Http2Stream): void {
    this.#open.delete(stream.id);
    if (stream.state > states.CLOSED) this.remember(stream.id, stream.state);
  }

  /** Remembers how a stream was reset. */
  remember(id: number, state: number): void {
    this.#reset.set(id, state);
    if (this.#reset.size <= REMEMBERED) return;
    for (const oldest of this.#reset.keys()) {
      this.#reset.delete(oldest);
      return;
    }
  }

  /** The state of a stream that is not open. */
  stateOf(id: number): number {
    const reset = this.#reset.get(id);
    if (reset !== undefined) return reset;
    const isPeers = (id & 1) === (this.#server ? 1 : 0);
    return id > (isPeers ? this.lastPeer : this.#nextOwn - 2) ? states.IDLE : states.CLOSED;
  }

  #add(host: StreamHost, id: number): Http2Stream {
    const stream = new Http2Stream(host, id);
    this.#open.add(stream);
    this.live++;
    return stream;
  }
}
