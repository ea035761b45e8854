/**
 * Every message between the server and a service worker, both directions.
 *
 * @module
 */
import type { ListenerCredentials } from "../config/credentials.ts";
import type { Config } from "../config/types.ts";
import type { EndpointSet } from "../balancer/discovery/discovery.ts";
import type { HealthFlip } from "../balancer/health/messages.ts";
import type { MetricReport } from "../observe/metrics/book.ts";
import type { PluginsInit } from "../sandbox/wire.ts";
import type { LogLevel } from "../config/types.ts";
import type { UpstreamReport } from "./upstream_report.ts";
import type { MemberSetting, UpstreamState } from "./upstream_runtime.ts";
import type { ConnectionEnds } from "../transport/kernel_sockets.ts";
import type { TlsState } from "./tls_listeners.ts";

/** What a service worker is started with. */
export interface WorkerSetup {
  /** Name of the service in `config.services`. */
  readonly service: string;
  /** Position among the workers of its service, from 0. */
  readonly index: number;
  readonly config: Config;
  /** What was found out about the upstreams by now. */
  readonly upstreams: UpstreamState;
  /** Certificates of the listeners, and what shows them. */
  readonly tls: TlsState;
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
  /** An operator has taken a member of a group out, put it back, or given it another weight. */
  | MemberSetting
  /** An operator wants more to be logged, or less. */
  | { readonly kind: "log_level"; readonly level: LogLevel }
  /** Say `inspected`, with the same number. */
  | { readonly kind: "inspect"; readonly id: number }
  /** The files of a listener's certificates hold something else. */
  | {
    readonly kind: "credentials";
    readonly listener: string;
    readonly credentials: ListenerCredentials;
  }
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
  /** Sent each second if there are metrics, and once more at the end. */
  | { readonly kind: "metrics"; readonly report: MetricReport }
  /** The answer to `inspect`. */
  | {
    readonly kind: "inspected";
    readonly id: number;
    readonly upstreams: readonly UpstreamReport[];
  }
  /** Connections that were closed and are still there: cut them. */
  | { readonly kind: "cut"; readonly connections: readonly ConnectionEnds[] }
  /** Cannot start; restarting would not help. */
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "drained"; readonly cut: number };
