/**
 * What plugins say of upstreams, and what they are told of them.
 *
 * @module
 */

/** One endpoint that a plugin names, written as in a file that is watched. */
export interface EndpointSpec {
  /** `host:port`. A plugin may not name unix sockets. */
  readonly address: string;
  /** Share of the requests, 0 to 65 535; `0` gets none. Default 1. */
  readonly weight?: number;
  /** Tier, 0 to 65 535; a higher one is asked only when too few of the lower ones are usable. Default 0. */
  readonly priority?: number;
  /** What `subset` chooses by: names and values. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** All endpoints of an upstream: entries, or addresses alone. At most 10 000. */
export type EndpointList = readonly (string | EndpointSpec)[];

/** A member of an upstream has become usable or unusable. */
export interface HealthChange {
  /** Name of the upstream. */
  readonly upstream: string;
  /** `host:port` or `unix:/path`. */
  readonly endpoint: string;
  /**
   * - `healthy`, `unhealthy`: what the active checks have found. Holds for the whole program, and is told once.
   * - `ejected`, `returned`: what the traffic of one service worker shows. Holds for that worker alone, and each
   *   worker tells it for itself.
   * - `drained`, `enabled`: an operator has taken it out of service, or put it back.
   */
  readonly kind: "healthy" | "unhealthy" | "ejected" | "returned" | "drained" | "enabled";
  /** Why, for people to read. */
  readonly reason: string;
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** The service worker that it holds for, such as `edge-0`; `null` if it holds for the whole program. */
  readonly worker: string | null;
}
