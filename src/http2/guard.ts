/**
 * Counts what costs a peer little and us much, and says when it is too much.
 *
 * Every kind has an allowance: so many at once, and so many a second in the long run.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import { ENHANCE_YOUR_CALM } from "./constants.ts";
import { Http2Error } from "./error.ts";

/** How much of one kind is allowed. */
export interface Allowance {
  /** At once, above the rate. */
  readonly burst: number;
  /** Per second. */
  readonly perSecond: number;
}

/** Every abuse that is counted, with its default. */
export const GUARD_LIMITS = {
  /** Streams that the peer opened and reset ("rapid reset"). */
  resetByPeer: { burst: 100, perSecond: 20 },
  /** Streams that we had to reset because of what the peer sent ("made you reset"). */
  resetByUs: { burst: 100, perSecond: 20 },
  /** SETTINGS frames, each of which must be acknowledged. */
  settings: { burst: 20, perSecond: 1 },
  /** PING frames, each of which must be answered. */
  ping: { burst: 50, perSecond: 5 },
  /** DATA frames without content that do not end their stream. */
  emptyData: { burst: 50, perSecond: 5 },
  /** WINDOW_UPDATE frames by fewer than {@linkcode TINY_WINDOW_UPDATE} bytes. */
  tinyWindowUpdate: { burst: 200, perSecond: 50 },
  /** PRIORITY and PRIORITY_UPDATE frames. */
  priority: { burst: 200, perSecond: 20 },
  /** Frames of types that are not known. */
  unknown: { burst: 100, perSecond: 10 },
} as const satisfies Record<string, Allowance>;

/** A kind of abuse. */
export type Abuse = keyof typeof GUARD_LIMITS;

/**
 * The same toward upstreams. More is let through there: what an upstream sends answers what we ask it, gRPC servers
 * measure the bandwidth by PING, and one connection is everybody's.
 */
export const UPSTREAM_GUARD_LIMITS: Readonly<Record<Abuse, Allowance>> = {
  resetByPeer: { burst: 1000, perSecond: 1000 },
  resetByUs: { burst: 100, perSecond: 100 },
  settings: { burst: 20, perSecond: 1 },
  ping: { burst: 1000, perSecond: 500 },
  emptyData: { burst: 50, perSecond: 5 },
  tinyWindowUpdate: { burst: 1000, perSecond: 1000 },
  priority: { burst: 200, perSecond: 20 },
  unknown: { burst: 100, perSecond: 10 },
};

/** An update by fewer bytes than this is counted. */
export const TINY_WINDOW_UPDATE = 1024;

/** The counters of one connection. */
export class Guard {
  readonly #clock: Clock;
  readonly #limits: Readonly<Record<Abuse, Allowance>>;
  readonly #left: Record<Abuse, number>;
  readonly #since: Record<Abuse, number>;

  constructor(clock: Clock, limits: Readonly<Record<Abuse, Allowance>> = GUARD_LIMITS) {
    this.#clock = clock;
    this.#limits = limits;
    const now = clock.now();
    const left: Partial<Record<Abuse, number>> = {};
    const since: Partial<Record<Abuse, number>> = {};
    for (const kind of Object.keys(limits) as Abuse[]) {
      left[kind] = limits[kind].burst;
      since[kind] = now;
    }
    this.#left = left as Record<Abuse, number>;
    this.#since = since as Record<Abuse, number>;
  }

  /**
   * Counts one of a kind.
   *
   * @throws {Http2Error} ENHANCE_YOUR_CALM on the connection when there were too many.
   */
  count(kind: Abuse): void {
    const { burst, perSecond } = this.#limits[kind];
    const now = this.#clock.now();
    const left = Math.min(
      burst,
      this.#left[kind] + (now - this.#since[kind]) * perSecond / 1000,
    );
    this.#since[kind] = now;
    this.#left[kind] = left - 1;
    if (left < 1) {
      throw new Http2Error(
        ENHANCE_YOUR_CALM,
        `${kind}: more than ${burst} at once and ${perSecond} a second`,
      );
    }
  }
}

/**
 * What a peer may send because of what it got: a window is opened after content, and some clients ask by PING
 * how long content takes. Only what is not explained that way is counted.
 */
export class Credit {
  readonly #perFrame: number;
  #left = 0;
  #seen = 0;

  /** @param perFrame How many frames of the peer one HEADERS or DATA frame of ours explains. */
  constructor(perFrame: number) {
    this.#perFrame = perFrame;
  }

  /**
   * Takes one.
   *
   * @param sent HEADERS and DATA frames sent since the connection began.
   * @returns Whether there was one.
   */
  take(sent: number): boolean {
    this.#left = Math.min(MOST_CREDIT, this.#left + (sent - this.#seen) * this.#perFrame);
    this.#seen = sent;
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }
}

const MOST_CREDIT = 200;
