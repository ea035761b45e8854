/**
 * A member of an upstream group, from what the config or a discovery says of it to what is known of it by now.
 *
 * @module
 */
import type { Peer } from "../connector/peer.ts";
import type { Address } from "../transport/address.ts";

/** A member as the config or a discovery names it. Plain data. */
export interface Endpoint {
  readonly address: Address;
  /** Share of the requests; `0`: drained, gets none. */
  readonly weight: number;
  /** Lower is asked first; the next only when too few of the one before are usable. Default `0`. */
  readonly priority: number;
  /** For choosing a subset. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Counts of one member. Kept by id, so they outlive the set of members they were made for. */
export interface BackendLoad {
  /** Requests that it works on now. */
  inFlight: number;
  /** Exponentially weighted moving average of its answer times, milliseconds; `0`: none yet. */
  ewma: number;
  /** When `ewma` was updated, milliseconds of the group's clock. */
  ewmaAt: number;
  /** Requests it was given, and those that failed. */
  requests: number;
  failures: number;
}

/** A member at work. */
export interface Backend {
  /** Stable name: the address as text; counts, health and admin settings hang on it. */
  readonly id: string;
  readonly endpoint: Endpoint;
  readonly peer: Peer;
  readonly load: BackendLoad;
}

/** How an attempt at a backend ended. */
export interface Outcome {
  /** `answered`: a response head came, whatever its status. */
  readonly kind: "answered" | "connect_failed" | "failed" | "cancelled";
  /** Status of the answer, `0` if there was none. */
  readonly status: number;
  /** Milliseconds from the request to the response head, or to the failure. */
  readonly latency: number;
}
