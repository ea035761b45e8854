/**
 * A route as the proxy uses it: what the config said, made ready.
 *
 * @module
 */
import type { WeightedSplit } from "../balancer/weighted_split.ts";
import type { ModuleChain } from "../modules/module.ts";
import type { Peer } from "../connector/peer.ts";
import type { Mirror } from "./mirror.ts";
import type { Plan } from "./plan.ts";
import type { RetryPolicy } from "./retry_policy.ts";
import type { Rule } from "./rules.ts";

/** When somebody else is asked, because an answer to a read is late. */
export interface HedgeSettings {
  /** Milliseconds that the response head may take. */
  readonly after: number;
  /** Most others asked. */
  readonly max: number;
}

/** One route of a service. */
export interface Route {
  readonly id: string;
  readonly plan: Plan;
  readonly rules: readonly Rule[];
  /** What acts between client and plugins, or `null`. */
  readonly modules: ModuleChain | null;
  /** Name of the upstream group, or `null` when `split`, hooks or rules must answer. */
  readonly upstream: string | null;
  /** Several groups that share the requests, or `null`. */
  readonly split: WeightedSplit | null;
  readonly mirrors: readonly Mirror[];
  /** Most bytes of request content, or `null` for what the listener says. */
  readonly bodyBytes: number | null;
  readonly retry: RetryPolicy;
  readonly hedge: HedgeSettings | null;
  /** Milliseconds from the request head to the response head, all attempts together; `null`: no limit of its own. */
  readonly requestTimeout: number | null;
  /** Milliseconds that a whole gRPC call may take, if its client does not want it sooner; `null`: what the client says. */
  readonly grpcTimeout: number | null;
  /** A peer with the timeouts that the route has over those of the upstream. */
  readonly peerFor: (peer: Peer) => Peer;
}
