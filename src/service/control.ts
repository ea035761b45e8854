/**
 * Every message between the server and a service worker, both directions.
 *
 * @module
 */
import type { Config } from "../config/types.ts";
import type { EndpointSet } from "../balancer/discovery/discovery.ts";
import type { HealthFlip } from "../balancer/health/messages.ts";
import type { PluginsInit } from "../sandbox/wire.ts";
import type { UpstreamState } from "./upstream_runtime.ts";

/** What a service worker is started with. */
export interface WorkerSetup {
  /** Name of the service in `config.services`. */
  readonly service: string;
  /** Position among the workers of its service, from 0. */
  readonly index: number;
  readonly config: Config;
  /** What was found out about the upstreams by now. */
  readonly upstreams: UpstreamState;
  /** How to reach the plugins; its `wire` is transferred with the message. */
  readonly plugins: PluginsInit;
}

/** Server to service worker. */
export type ServerMessage =
  | { readonly kind: "start"; readonly setup: WorkerSetup }
  /** A group has other endpoints. */
  | EndpointSet
  /** A member of a group has begun or ceased to work. */
  | HealthFlip
  /** Stop accepting, finish what runs, say `drained`; what is left after `grace` milliseconds is cut. */
  | { readonly kind: "drain"; readonly grace: number }
  /** The log files were moved away: open new ones. */
  | { readonly kind: "reopen_logs" };

/** Service worker to server. */
export type WorkerMessage =
  /** The program is loaded and waits for `start`. */
  | { readonly kind: "loaded" }
  /** Listening. */
  | { readonly kind: "ready" }
  /** Sent each second. */
  | { readonly kind: "alive" }
  /** Cannot start; restarting would not help. */
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "drained"; readonly cut: number };
