/**
 * What was learned of the versions that peers speak, so that a second connection knows what the first found out.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { Peer } from "./peer.ts";
import type { SharedConnection } from "./pool.ts";

/** Peers remembered; beyond it the one learned of longest ago is forgotten, and found out about anew. */
export const MOST_REMEMBERED = 1024;

/** What a peer has shown. */
interface Lesson {
  /** Whether its last connection carried many requests at a time. */
  shares: boolean;
  /** Requests that one of its connections took at a time. */
  streams: number;
  /** Whether it takes upgrades over HTTP/2 (RFC 8441). */
  upgrades: boolean;
  /** Until when it wants HTTP/1.1, milliseconds of the clock. */
  http1Until: number;
}

/** Remembers by `Peer.reuseKey`, within bounds. */
export class ProtocolMemory {
  readonly #clock: Clock;
  readonly #lessons = new Map<string, Lesson>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many peers are remembered. */
  get size(): number {
    return this.#lessons.size;
  }

  /** Whether the next connection may carry many requests, for all that is known. */
  mayShare(peer: Peer): boolean {
    return peer.mayShare && this.#lessons.get(peer.reuseKey)?.shares !== false;
  }

  /** Requests that a connection is likely to carry at a time. */
  streams(peer: Peer): number {
    const { maxStreams } = peer.options.http2;
    return Math.min(maxStreams, this.#lessons.get(peer.reuseKey)?.streams ?? maxStreams);
  }

  /** The peer itself, or its form for HTTP/1.1 where this request cannot be sent otherwise. */
  versionFor(peer: Peer, upgrade: string): Peer {
    if (peer.http1 === null) return peer;
    const lesson = this.#lessons.get(peer.reuseKey);
    if (lesson === undefined) return peer;
    const cannot = upgrade !== "" && lesson.shares &&
      !(lesson.upgrades && isBridged(upgrade));
    return cannot || lesson.http1Until > this.#clock.now() ? peer.http1 : peer;
  }

  /** Whether anything is known. */
  knows(peer: Peer): boolean {
    return this.#lessons.has(peer.reuseKey);
  }

  /** A connection was made; `shared` if it carries several requests. */
  learn(peer: Peer, shared: SharedConnection | null): void {
    const lesson = this.#take(peer);
    lesson.shares = shared !== null;
    if (shared === null) return;
    lesson.streams = shared.capacity;
    lesson.upgrades = shared.upgrades;
  }

  /** The peer has answered HTTP_1_1_REQUIRED (RFC 9113 §7). */
  requireHttp1(peer: Peer): void {
    this.#take(peer).http1Until = this.#clock.now() + peer.options.http2.http1For;
  }

  #take({ reuseKey, options }: Peer): Lesson {
    const lesson = this.#lessons.get(reuseKey) ??
      { shares: true, streams: options.http2.maxStreams, upgrades: false, http1Until: 0 };
    this.#lessons.delete(reuseKey);
    this.#lessons.set(reuseKey, lesson);
    if (this.#lessons.size > MOST_REMEMBERED) {
      const [oldest] = this.#lessons.keys();
      this.#lessons.delete(oldest!);
    }
    return lesson;
  }
}

/** Whether an upgrade means the same over HTTP/2: RFC 8441 says so of WebSocket alone. */
export function isBridged(upgrade: string): boolean {
  return upgrade === "websocket";
}
