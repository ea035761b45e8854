/**
 * Where a group gets its endpoints from while the program runs.
 *
 * Runs once in the program, on the thread that carries no traffic. What a source says is taken as a whole or not at
 * all, and a source that fails keeps the last good set.
 *
 * @module
 */
import type { ProxyError } from "../../base/error.ts";
import type { Endpoint } from "../backend.ts";
import type { ExchangeTools } from "../health/http_exchange.ts";

/** Most endpoints that a source may name. */
export const MOST_ENDPOINTS = 10_000;

/** Most bytes that a file or an answer may have: 1 MiB. */
export const MOST_BYTES = 1024 * 1024;

/** What a source tells. */
export interface DiscoveryEvents {
  /**
   * The endpoints are others than before; the first set is always told. Ordered by priority and address, so that
   * equal sets are equal lists.
   */
  onUpdate(endpoints: readonly Endpoint[]): void;
  /** The source has begun to fail. The last good set stays. Told once, until it has recovered. */
  onError(error: ProxyError): void;
  /** The source works again. Comes before the update, if there is one. */
  onRecovered(): void;
}

/** What is known of a source. Plain data. */
export interface DiscoveryState {
  /** Endpoints of the last good set; `-1`: there has been none. */
  readonly endpoints: number;
  /** When the source last gave a good answer, in milliseconds since 1970; `0`: never. */
  readonly lastSuccess: number;
  /** Failures in a row. */
  readonly failures: number;
  /** `type: message` of the last one, or `null` if the source works. */
  readonly error: string | null;
}

/** A source of endpoints. */
export interface Discovery {
  /**
   * Begins. Nothing is told before it returns, except by a source that knows all at once.
   *
   * @throws {Error} If it was begun before.
   */
  start(events: DiscoveryEvents): void;
  /** Asks now, besides the regular times; also while it waits after a failure. */
  refresh(): void;
  /** Ends for good, at once. Nothing is told from here on. */
  stop(): void;
  /** What is known of it. */
  state(): DiscoveryState;
}

/** A group has other endpoints. Plain data, for the threads that carry traffic. */
export interface EndpointSet {
  readonly kind: "endpoint_set";
  /** Name of the upstream group. */
  readonly group: string;
  /** All of them. */
  readonly endpoints: readonly Endpoint[];
  /** When it was found, in milliseconds since 1970. */
  readonly at: number;
}

/** What sources work with. */
export interface DiscoveryTools extends ExchangeTools {
  /** From 0 up to 1. Default `Math.random`. */
  readonly random?: () => number;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly date?: () => number;
}
