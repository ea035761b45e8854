/**
 * Every message between the server and a service worker, both directions.
 *
 * @module
 */
import type { ListenerCredentials } from "../config/credentials.ts";
import type { Config, LogLevel } from "../config/types.ts";
import type { EndpointSet } from "../balancer/discovery/discovery.ts";
import type { HealthFlip } from "../balancer/health/messages.ts";
import type { MetricReport } from "../observe/metrics/book.ts";
import type { PluginsInit } from "../sandbox/wire.ts";
import type { TcpAddress } from "../transport/address.ts";
import type { ConnectionEnds } from "../transport/kernel_sockets.ts";
import type { LoopOfThread } from "../transport/epoll/left_behind.ts";
import type { Loan } from "../transport/loan.ts";
import type { NameTable } from "../transport/resolver.ts";
import type { TlsState } from "./tls_listeners.ts";
import type { GroupTrafficHealth, TrafficHealth } from "./traffic_health.ts";
import type { UpstreamReport } from "./upstream_report.ts";
import type { MemberSetting, UpstreamState } from "./upstream_runtime.ts";

/** What a service worker has to do at a moment. */
export interface WorkerLoad {
  /** Connections of clients that are open or being set up. */
  readonly connections: number;
  /** Requests and tunnels that something is still done for. */
  readonly requests: number;
  /** Editions of the config before the one that serves that have requests or tunnels left. */
  readonly retiredEditions: number;
}

/** An edition of the config, and what goes with it everywhere. Plain data. */
export interface EditionSetup {
  /** Counts up from 1 with every reload that was tried. */
  readonly number: number;
  readonly config: Config;
  /** What was found out about the upstreams by now. */
  readonly upstreams: UpstreamState;
  /** The slot of each plugin of the config, in its order. */
  readonly slots: readonly number[];
  /** Addresses by which listeners are listened on in this process, where those are not their own, by name. */
  readonly binds: Readonly<Record<string, TcpAddress>>;
}

/** An edition as a service worker gets it. */
export interface WorkerEdition extends EditionSetup {
  /** Certificates of the listeners, and what shows them. */
  readonly tls: TlsState;
}

/** What a service worker is started with. */
export interface WorkerSetup {
  /** Name of the service in `config.services`. */
  readonly service: string;
  /** Position among the workers of its service, from 0. */
  readonly index: number;
  readonly edition: WorkerEdition;
  /** How to reach the plugins; its `wire` is transferred with the message. */
  readonly plugins: PluginsInit;
}

/** Server to service worker. */
export type ServerMessage =
  /** Make everything ready, and say `prepared`. */
  | { readonly kind: "start"; readonly setup: WorkerSetup }
  /** Before `listen`: what the worker before this one has found out by its traffic. */
  | { readonly kind: "inherit"; readonly health: TrafficHealth }
  /** Listen, and say `ready`. */
  | { readonly kind: "listen" }
  /** Make another edition ready beside the one that serves, and say `prepared` or `refused`. */
  | { readonly kind: "prepare"; readonly edition: WorkerEdition }
  /** Serve by the edition that was prepared, and say `committed`. */
  | { readonly kind: "commit"; readonly number: number; readonly upstreams: UpstreamState }
  /** Forget the edition that was prepared. */
  | { readonly kind: "abort"; readonly number: number }
  /** What has been found out about the upstreams since `start`. */
  | { readonly kind: "refresh"; readonly upstreams: UpstreamState }
  /** A group has other endpoints. */
  | EndpointSet
  /** A member of a group has begun or ceased to work. */
  | HealthFlip
  /** Names of upstreams lead elsewhere. */
  | { readonly kind: "names"; readonly names: NameTable }
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
  /**
   * Stop accepting, finish what runs, say `drained`; what is left after `grace` milliseconds is cut. For `gentle`
   * milliseconds, connections that are idle may bring one more request.
   */
  | { readonly kind: "drain"; readonly grace: number; readonly gentle: number }
  /** Wait for nothing but what runs: close connections that are idle. */
  | { readonly kind: "hurry" }
  /** The answer to `borrow`: a descriptor, `null` if the worker is to bind a socket of its own, or why there is none. */
  | {
    readonly kind: "lent";
    readonly id: number;
    readonly loan: Loan | null;
    readonly problem: string | null;
  }
  /** The drain has taken long enough: cut what is left. */
  | { readonly kind: "cut" }
  /** The log files were moved away: open new ones. */
  | { readonly kind: "reopen_logs" };

/** Service worker to server. */
export type WorkerMessage =
  /** The program is loaded and waits for `start`. */
  | { readonly kind: "loaded" }
  /** An edition is ready to serve. */
  | { readonly kind: "prepared"; readonly number: number }
  /** An edition cannot be made; the one before goes on. */
  | { readonly kind: "refused"; readonly number: number; readonly message: string }
  /** An edition serves. */
  | { readonly kind: "committed"; readonly number: number }
  /** No request uses an edition any more that another has followed. */
  | { readonly kind: "released"; readonly number: number }
  /** Listening. */
  | { readonly kind: "ready" }
  /** Sent each second. */
  | { readonly kind: "alive"; readonly load: WorkerLoad }
  /** Sent each second if there are metrics, and once more at the end. */
  | { readonly kind: "metrics"; readonly report: MetricReport }
  /** What traffic shows of the upstreams has changed: all of it, for the worker that may follow. */
  | { readonly kind: "traffic_health"; readonly groups: readonly GroupTrafficHealth[] }
  /** The answer to `inspect`. */
  | {
    readonly kind: "inspected";
    readonly id: number;
    readonly upstreams: readonly UpstreamReport[];
  }
  /** Connections that were closed and are still there: cut them. */
  | { readonly kind: "cut"; readonly connections: readonly ConnectionEnds[] }
  /** A descriptor of the socket that is held there is needed, to listen on: say `lent`, with the same number. */
  | { readonly kind: "borrow"; readonly id: number; readonly bound: TcpAddress }
  /** It watches sockets by this loop: what it leaves behind is to be closed. */
  | { readonly kind: "watches"; readonly loop: LoopOfThread }
  /** Cannot go on. */
  | { readonly kind: "failed"; readonly message: string }
  /** It has ended itself: nothing more will be heard of it. */
  | { readonly kind: "ended"; readonly load: WorkerLoad }
  | { readonly kind: "drained"; readonly cut: number };
