/**
 * The configuration after validation: plain frozen data with every default filled in, which can be posted to a
 * worker. Times are milliseconds, sizes bytes.
 *
 * @module
 */
import type { Address } from "../transport/address.ts";
import type { SocketEngine } from "../transport/socket.ts";
import type { UnixOwner } from "../transport/unix_path.ts";
import type { DownstreamLimits } from "../http/limits.ts";
import type { Http2Limits } from "../http2/limits.ts";
import type { ModuleName } from "../modules/table.ts";
import type { Match, Permissions } from "../plugin/plugin.ts";
import type {
  HedgeConfig,
  MirrorConfig,
  RetryConfig,
  RouteTimeouts,
  SplitConfig,
} from "./types_attempts.ts";
import type { Identity } from "./accounts.ts";
import type { ListenerTlsConfig, ProxyProtocolConfig } from "./types_listeners.ts";
import type { UpstreamConfig } from "./types_upstreams.ts";

/** Where a value came from, for messages about it later than validation. */
export interface SourceMark {
  /** File as the user named it. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What the whole program runs by. */
export interface Config {
  readonly version: 1;
  readonly server: ServerConfig;
  readonly listeners: readonly ListenerConfig[];
  readonly services: readonly ServiceConfig[];
  readonly upstreams: readonly UpstreamConfig[];
  readonly plugins: readonly PluginConfig[];
  /** Absolute path of their folder, or `null`. */
  readonly pluginDirectory: string | null;
  readonly accessLog: AccessLogConfig;
  readonly log: LogConfig;
  /** `null`: nothing is counted. */
  readonly metrics: MetricsConfig | null;
  /** `null`: there is no admin interface. */
  readonly admin: AdminConfig | null;
}

/** What is counted, and where it can be asked for. */
export interface MetricsConfig {
  /** Besides the admin interface; `null`: nowhere else. */
  readonly listen: Address | null;
  readonly path: string;
}

/** The interface for operators. */
export interface AdminConfig {
  /** Where it listens: a unix socket, or an address of this host. */
  readonly address: Address;
  /** Whether the config names it; else it is the usual place, and not having it is no reason not to start. */
  readonly named: boolean;
  /** What clients must show; `null` only on a unix socket: nothing. */
  readonly token: string | null;
}

export type LogLevel = "debug" | "info" | "warning" | "error";

/** The operational log, on stderr. */
export interface LogConfig {
  readonly level: LogLevel;
  readonly format: "text" | "json";
  /** Absolute path of the file that it is appended to; `null`: stderr. */
  readonly file: string | null;
}

/** The file with the id of the process. */
export interface PidFileConfig {
  /** Absolute. */
  readonly path: string;
  /** Whether the config names it; else it is the usual place, in a folder of the user's own. */
  readonly named: boolean;
}

export interface ServerConfig {
  /** Service workers per service. */
  readonly threads: number;
  /** How long a drain may take. */
  readonly gracePeriod: number;
  /** How long to go on serving after a drain was asked for, while readiness says no. */
  readonly shutdownDelay: number;
  /** How long workers and plugins that a reload has replaced may go on with what they have. */
  readonly retireTimeout: number;
  /** How many of them may go on at a time, per service; the oldest is cut first. */
  readonly maxRetired: number;
  /** How many editions before the one that serves may have requests left in a service worker. */
  readonly maxRetiredEditions: number;
  /** Whether files that change are read again. */
  readonly watch: boolean;
  /** Absolute path of the folder to work in, or `null`: where it was started. */
  readonly workingDirectory: string | null;
  /** `null`: none is written. */
  readonly pidFile: PidFileConfig | null;
  /** Who to become when ports are bound; `null`: whoever started it. */
  readonly identity: Identity | null;
  /** Whether to go on in the background. */
  readonly daemon: boolean;
  /** How long the process in the background may need until it serves. */
  readonly daemonReadyTimeout: number;
  /** Where a process that takes over finds this one, or `null`: where nobody else can. */
  readonly upgradeSock: string | null;
  /** How long a process that takes over may need until it serves. */
  readonly upgradeTimeout: number;
  /** Silence after which a service worker counts as hanging. */
  readonly heartbeatTimeout: number;
  /** Attempts per request beyond the first, all causes together. */
  readonly maxRetries: number;
  /**
   * Addresses that plugins may name in `upstreamPeer` beside the endpoints of `upstreams`, as Deno's net rights
   * spell them: `host:port`, `host`, `*.domain`, CIDR. YAML: `server.allowed_peers`, default none.
   */
  readonly allowedPeers: readonly string[];
  /** Asked for the names of upstreams, as `ip` or `ip:port`; none: as the system looks names up. */
  readonly nameServers: readonly string[];
  /** Idle upstream connections per service worker, over all peers. */
  readonly upstreamKeepalivePoolSize: number;
}

/** What clients may speak: `h2` needs TLS, `h2c` is HTTP/2 without it. */
export type ListenerProtocol = "h1" | "h2" | "h2c";

export interface ListenerConfig {
  readonly name: string;
  readonly address: Address;
  /** `null`: clear text. */
  readonly tls: ListenerTlsConfig | null;
  /** `null`: no PROXY header is looked for. */
  readonly proxyProtocol: ProxyProtocolConfig | null;
  /** What carries clear-text connections over TCP. */
  readonly engine: SocketEngine;
  /** Mode of a unix socket file. */
  readonly unixMode: number;
  /** Who owns it; `null`: whoever runs this. */
  readonly unixOwner: UnixOwner | null;
  readonly backlog: number;
  /** Most open connections per service worker; further ones are closed at once. */
  readonly maxConnections: number;
  /** Most tunnels at a time per service worker, with requests that wait to become one. */
  readonly maxTunnels: number;
  readonly protocols: readonly ListenerProtocol[];
  readonly limits: DownstreamLimits;
  readonly http2: Http2Limits;
  /** Most bytes that `session.readBody` may hold. */
  readonly pluginBodyBuffer: number;
  /** Whether CONNECT is passed on; otherwise it is answered 405. */
  readonly allowConnect: boolean;
  /** Whether a client that has finished writing counts as gone. */
  readonly abortOnClose: boolean;
  /** Networks whose `X-Forwarded-*` and `Forwarded` fields are believed. */
  readonly trustedProxies: readonly string[];
  /** Which fields tell the upstream who the client is. */
  readonly forwarded: "x_forwarded" | "rfc7239" | "both" | "off";
}

export interface ServiceConfig {
  readonly name: string;
  readonly threads: number;
  /** Names of listeners. */
  readonly listeners: readonly string[];
  readonly routes: readonly RouteConfig[];
}

export interface RouteConfig {
  readonly id: string;
  readonly match: Match;
  /** Plugins in the order of their calls. */
  readonly plugins: readonly PluginUse[];
  /** Rules that the core follows without asking a plugin. */
  readonly rules: readonly RuleConfig[];
  /** Modules that act on it. */
  readonly modules: readonly ModuleName[];
  /** Name of the upstream group, or `null` when `split` names several, or a plugin or rule answers. */
  readonly upstream: string | null;
  /** Upstream groups that share the requests, or `null`. */
  readonly split: SplitConfig | null;
  /** Upstream groups that get copies. */
  readonly mirrors: readonly MirrorConfig[];
  /** Over what the upstream says. */
  readonly timeouts: RouteTimeouts;
  /** Over the bounds of the listener. */
  readonly bodyBytes: number | null;
  readonly retry: RetryConfig;
  /** `null`: nobody else is asked while an attempt runs. */
  readonly hedge: HedgeConfig | null;
}

/** A plugin at work on a route. */
export interface PluginUse {
  /** Index into `Config.plugins`. */
  readonly plugin: number;
  /** Index into `PluginConfig.uses`: the config to run with. */
  readonly use: number;
  readonly when: Match | null;
}

export interface RuleConfig {
  readonly match: Match;
  /** Fields to set on the request to the upstream, and on the response. `null` removes. */
  readonly request: Readonly<Record<string, string | null>>;
  readonly response: Readonly<Record<string, string | null>>;
  readonly respond: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  } | null;
}

export type Isolation = "worker" | "process" | "inline";

export interface PluginConfig {
  readonly name: string;
  /** Absolute path of the module. */
  readonly file: string;
  /** Absolute path of the folder whose files it may read; for a plugin that is one file, that file. */
  readonly root: string;
  readonly isolation: Isolation;
  /** What the operator grants; `as-requested` for all that it asks for. */
  readonly grant: Permissions | "as-requested";
  /** Over what the plugin says. */
  readonly onError: "fail_open" | "fail_closed" | null;
  readonly timeout: number | null;
  /** Heap of the sandbox, in bytes. */
  readonly heap: number | null;
  /** How long it may take to load, and then to set up, in milliseconds. */
  readonly loadTimeout: number;
  /** Its configurations, one for each distinct `with:`, as written. */
  readonly uses: readonly PluginUseConfig[];
}

export interface PluginUseConfig {
  /** What stands under `with:`, unvalidated: the plugin's own schema does that. */
  readonly config: unknown;
  /** Where it stands, or `null` if the plugin came from the directory alone. */
  readonly source: SourceMark | null;
}

export interface AccessLogConfig {
  /** `off`, `stdout` or a file. */
  readonly output: "off" | "stdout" | { readonly file: string };
  /** What becomes of query strings: kept, kept without the values of secret parameters, or left out. */
  readonly query: "keep" | "redact" | "drop";
}
