/**
 * What a route says about its upstreams, after validation: how long, how often, and who besides. Times are
 * milliseconds, sizes bytes, shares numbers from 0 to 1.
 *
 * @module
 */
import type { HashKeySource } from "../balancer/hash_key.ts";
import type { StatusRange } from "../balancer/health/status_ranges.ts";
import type { SplitPart } from "../balancer/weighted_split.ts";
import type { BackoffOptions } from "../connector/backoff.ts";
import type { RetryBudgetOptions } from "../connector/retry_budget.ts";

/** Times of a route over those of its upstream; `null`: what the upstream says. */
export interface RouteTimeouts {
  /** For a new connection, look-up and TLS included. */
  readonly connect: number | null;
  /** From the end of the request to the first byte of the response. */
  readonly responseHeader: number | null;
  /** Between two pieces of the response. */
  readonly read: number | null;
  /** How long a write may wait for the upstream to read. */
  readonly write: number | null;
  /** How long a tunnel may be silent in both directions; `0`: no limit. */
  readonly tunnelIdle: number | null;
  /** How long a tunnel may last; `0`: no limit. */
  readonly tunnel: number | null;
  /** For a whole gRPC call, if its client does not want it sooner; `null`: what the client says. */
  readonly grpc: number | null;
  /** From the request head to the response head, all attempts together; `null`: no limit of its own. */
  readonly request: number | null;
}

/**
 * What may go wrong with an attempt. `connect_failure`: no connection could be made. `reset`: it broke before the
 * response head. `timeout`: the response head did not come in time.
 */
export type RetryCause = "connect_failure" | "reset" | "timeout";

export interface RetryConfig {
  /** Attempts beyond the first. */
  readonly attempts: number;
  readonly on: readonly RetryCause[];
  /** Statuses after which another attempt is made. */
  readonly statuses: readonly StatusRange[];
  /** Codes of gRPC after which another attempt is made. */
  readonly grpcStatuses: readonly number[];
  /** From the beginning of an attempt to its response head; `null`: what the timeouts say. */
  readonly perTryTimeout: number | null;
  /** Waits between attempts. */
  readonly backoff: Required<Pick<BackoffOptions, "base" | "cap">>;
  readonly budget: Required<Pick<RetryBudgetOptions, "ratio" | "minPerSecond">>;
  /** Whether requests are repeated that the upstream may already have acted on. */
  readonly nonIdempotent: boolean;
  /** Request content kept for another attempt; more makes the request unrepeatable. */
  readonly bufferBytes: number;
}

/** Asking somebody else while an attempt still runs. */
export interface HedgeConfig {
  /** How long the response head may take before somebody else is asked. */
  readonly after: number;
  /** Most others asked. */
  readonly max: number;
}

/** Copies of the requests of a route. */
export interface MirrorConfig {
  /** Name of the upstream group. */
  readonly upstream: string;
  /** Share of the requests that is copied. */
  readonly share: number;
  /** Most request content of a copy; requests with more are not copied. */
  readonly maxBody: number;
  /** Most copies under way in one service worker. */
  readonly maxConcurrent: number;
  /** For one copy, all of it. */
  readonly timeout: number;
}

/** How requests are shared among upstream groups: what `WeightedSplit` takes. */
export interface SplitConfig {
  readonly parts: readonly SplitPart[];
  /** What keeps a client with its group; `null`: each request is drawn. */
  readonly hashKey: HashKeySource | null;
}
