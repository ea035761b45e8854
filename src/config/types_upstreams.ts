/**
 * An upstream after validation. It composes the options of the layers below. Times are milliseconds, sizes bytes,
 * shares numbers from 0 to 1.
 *
 * @module
 */
import type { Endpoint } from "../balancer/backend.ts";
import type { DiscoveryConfig as SourceConfig } from "../balancer/discovery/table.ts";
import type { HashKeySource } from "../balancer/hash_key.ts";
import type { ActiveSettings } from "../balancer/health/active.ts";
import type { PassiveSettings } from "../balancer/health/passive.ts";
import type { SlowStartSettings } from "../balancer/health/slow_start.ts";
import type { CheckConfig } from "../balancer/health/table.ts";
import type { PolicyName } from "../balancer/selection/table.ts";
import type { StickyOptions } from "../balancer/sticky.ts";
import type { Labels } from "../balancer/subset.ts";
import type { BreakerLimits } from "../connector/breaker.ts";
import type { FullPeerOptions, PeerTls } from "../connector/peer.ts";

/** A named set of endpoints and all that is said about it. */
export interface UpstreamConfig {
  readonly name: string;
  readonly balancing: BalancingConfig;
  /** Empty when there is a discovery. */
  readonly endpoints: readonly EndpointConfig[];
  readonly discovery: DiscoveryConfig | null;
  readonly health: HealthConfig;
  /** `null`: nothing is limited, and nothing opens. */
  readonly breaker: BreakerLimits | null;
  /** An empty `serverName` stands for the host of each endpoint. */
  readonly tls: PeerTls | null;
  readonly options: FullPeerOptions;
}

/** An endpoint; `backup` has become a priority. */
export type EndpointConfig = Endpoint;

/** How an endpoint is chosen. */
export interface BalancingConfig {
  readonly policy: PolicyName;
  /** What is hashed; `null` for policies that hash nothing. */
  readonly hashKey: HashKeySource | null;
  readonly sticky: StickyConfig | null;
  /** Labels of the endpoints to prefer. */
  readonly subset: Labels | null;
  /** Share of the weight below which health is ignored; `0`: never. */
  readonly panicThreshold: number;
  /** `null`: endpoints get their whole share at once. */
  readonly slowStart: SlowStartSettings | null;
}

/** Sticky sessions. */
export type StickyConfig = Omit<StickyOptions, "secret"> & {
  /** `null`: one that is drawn at the start, the same for all service workers. */
  readonly secret: string | null;
};

/** How one knows which endpoints work. */
export interface HealthConfig {
  readonly active: ActiveHealthConfig | null;
  readonly passive: PassiveSettings | null;
}

/** Asking the endpoints now and then. */
export interface ActiveHealthConfig {
  readonly settings: ActiveSettings;
  readonly check: CheckConfig;
  /** Checks at a time. */
  readonly concurrency: number;
}

/** Where the endpoints of an upstream come from. */
export interface DiscoveryConfig {
  /** What is asked. */
  readonly source: Exclude<SourceConfig, { readonly type: "static" }>;
  /**
   * Addresses that the service workers may connect to, as Deno's net rights spell them: `host:port`, `host`,
   * `*.domain`, CIDR; `null`: any.
   */
  readonly allow: readonly string[] | null;
}
