/**
 * What has become of the connections to a peer: how many were made, how long that took, and why they ended.
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../base/error.ts";
import type { ConnectTimes } from "../transport/dial.ts";

/** Why connections end, apart from requests that break them. */
export const EVICTIONS = [
  /** Unused for `idleTimeout`. */
  "idle_timeout",
  /** One too many under `maxIdle` or the size of the pool: the one idle for longest goes. */
  "lru",
  /** The peer closed it while it was idle. */
  "peer_closed",
  /** The peer sent something that answers no request. */
  "stray_bytes",
  /** As old as `maxAge`. */
  "max_age",
  /** As many requests as `maxRequests`. */
  "max_requests",
  /** The exchange ended so that no other can follow on it. */
  "not_reusable",
  /** `idleTimeout`, `maxIdle` or the size of the pool are 0. */
  "not_pooled",
  /** The peer said by GOAWAY that it takes no more requests on it. */
  "goaway",
  /** The peer did not answer PING in time. */
  "ping_timeout",
  /** Its place under `maxConnections` was needed by somebody who could not use it. */
  "replaced",
  /** The connector drains or closes, or the peer left. */
  "shutdown",
] as const;

/** One of {@linkcode EVICTIONS}. */
export type Eviction = typeof EVICTIONS[number];

/** How long something took, over all times it was done. Milliseconds. */
export interface Timing {
  readonly count: number;
  readonly total: number;
  readonly max: number;
  readonly last: number;
}

/** What is remembered of a peer. */
export interface PeerHistory {
  readonly label: string;
  /** Connections made. */
  readonly opened: number;
  /** Connections that could not be made, and by which errors. */
  readonly failed: number;
  readonly failures: Readonly<Partial<Record<ErrorType, number>>>;
  /** Requests that found a connection. */
  readonly reused: number;
  /** Connections closed, by why. */
  readonly evicted: Readonly<Record<Eviction, number>>;
  readonly lookup: Timing;
  readonly connect: Timing;
  readonly tls: Timing;
}

class Measured implements Timing {
  count = 0;
  total = 0;
  max = 0;
  last = 0;

  add(ms: number): void {
    this.count++;
    this.total += ms;
    this.last = ms;
    if (ms > this.max) this.max = ms;
  }
}

/** The history of one peer as it is written. */
export class History implements PeerHistory {
  readonly label: string;
  opened = 0;
  failed = 0;
  readonly failures: Partial<Record<ErrorType, number>> = {};
  reused = 0;
  readonly evicted: Record<Eviction, number> = {
    idle_timeout: 0,
    lru: 0,
    peer_closed: 0,
    stray_bytes: 0,
    max_age: 0,
    max_requests: 0,
    not_reusable: 0,
    not_pooled: 0,
    goaway: 0,
    ping_timeout: 0,
    replaced: 0,
    shutdown: 0,
  };
  readonly lookup: Measured = new Measured();
  readonly connect: Measured = new Measured();
  readonly tls: Measured = new Measured();

  constructor(label: string) {
    this.label = label;
  }

  /** A connection was made. */
  made({ lookup, connect, tls }: ConnectTimes): void {
    this.opened++;
    if (lookup > 0) this.lookup.add(lookup);
    this.connect.add(connect);
    if (tls > 0) this.tls.add(tls);
  }

  /** A connection could not be made. */
  fail(error: unknown): void {
    this.failed++;
    const type = error instanceof ProxyError ? error.type : "connect_error";
    this.failures[type] = (this.failures[type] ?? 0) + 1;
  }
}

/** Peers remembered; beyond it the one that was connected to longest ago is forgotten. */
export const MOST_HISTORIES = 1024;

/** Histories by `Peer.label`. They outlive the connections. */
export class Histories {
  readonly #all = new Map<string, History>();

  /** What is remembered, the peer used last at the end. Not a copy. */
  get all(): ReadonlyMap<string, PeerHistory> {
    return this.#all;
  }

  /** The history of a peer that is about to be connected to. */
  of(label: string): History {
    const history = this.#all.get(label) ?? new History(label);
    this.#all.delete(label);
    this.#all.set(label, history);
    if (this.#all.size > MOST_HISTORIES) {
      const [oldest] = this.#all.keys();
      this.#all.delete(oldest!);
    }
    return history;
  }
}
