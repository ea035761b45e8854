/**
 * From checked file data to the {@linkcode Config} that the program runs by.
 *
 * @module
 */
import type { DownstreamLimits } from "../http/limits.ts";
import { formatAddress } from "../transport/address.ts";
import { absolute } from "./absolute.ts";
import type { Identity } from "./accounts.ts";
import type { ConfigDocument } from "./document.ts";
import type { FoundPlugin } from "./found_plugins.ts";
import { normalizeHttp2 } from "./normalize_http2.ts";
import { type EngineSurroundings, socketEngine } from "./socket_engine.ts";
import { normalizeListenerTls, normalizeProxyProtocol } from "./normalize_listener_tls.ts";
import { normalizeServices, PluginUses } from "./normalize_services.ts";
import { normalizeUpstream } from "./normalize_upstreams.ts";
import type { FileData } from "./schema.ts";
import type {
  AccessLogConfig,
  AdminConfig,
  Config,
  Isolation,
  ListenerConfig,
  MetricsConfig,
  PidFileConfig,
  PluginConfig,
  ServerConfig,
  ServiceConfig,
} from "./types.ts";

/** Milliseconds that a plugin may take to start. */
const DEFAULT_LOAD_TIMEOUT = 15_000;

/** What {@linkcode normalize} needs besides the data. */
export interface NormalizeContext {
  /** `null` for a config that comes from flags. */
  readonly document: ConfigDocument | null;
  /** The plugins of the folder, in any order. */
  readonly plugins: readonly FoundPlugin[];
  /** Service workers that `auto` stands for. */
  readonly cores: number;
  /** Makes a path absolute. */
  readonly resolve: (path: string) => string;
  /** Path of the admin socket when the config names none; `null`: there is then no admin interface. */
  readonly adminSocket: string | null;
  /** Who `server.user` and `server.group` are. Default: not given. */
  readonly identity?: Identity | null;
  /** Whether to go on in the background, whatever the data says. Default `false`. */
  readonly daemon?: boolean | undefined;
  /** The text of a file that was read before. */
  readonly file: (path: string) => string;
}

/** Fills in what depends on other values, and turns names into positions. */
export function normalize(data: FileData, context: NormalizeContext): Config {
  const daemon = data.server.daemon || context.daemon === true;
  const server: ServerConfig = {
    threads: threads(data.server.threads, context.cores),
    gracePeriod: data.server.grace_period_seconds === undefined
      ? data.server.grace_period
      : data.server.grace_period_seconds * 1000,
    shutdownDelay: data.server.shutdown_delay,
    retireTimeout: data.server.retire_timeout,
    maxRetired: data.server.max_retired,
    maxRetiredEditions: data.server.max_retired_editions,
    heartbeatTimeout: data.server.heartbeat_timeout,
    watch: data.server.watch,
    workingDirectory: pathOf(data.server.working_directory, context),
    pidFile: normalizePidFile(data.server, daemon, context),
    identity: context.identity ?? null,
    daemon,
    daemonReadyTimeout: data.server.daemon_ready_timeout,
    upgradeSock: pathOf(data.server.upgrade_sock, context),
    upgradeTimeout: data.server.upgrade_timeout,
    maxRetries: data.server.max_retries,
    allowedPeers: data.server.allowed_peers,
    nameServers: data.server.name_servers,
    upstreamKeepalivePoolSize: data.server.upstream_keepalive_pool_size,
  };
  const caFile = data.server.ca_file;
  const ca = caFile === undefined ? null : context.file(caFile);
  const plugins = [...context.plugins].sort((a, b) => a.name < b.name ? -1 : 1);
  const uses = new PluginUses(plugins, data.plugins.disabled, context.document);
  const services = normalizeServices(data, uses, {
    listeners: data.listeners.map(nameOf),
    threads: (wanted) => wanted === undefined ? server.threads : threads(wanted, context.cores),
  });
  const configured = plugins.map((plugin, i) => normalizePlugin(plugin, data.plugins, uses.of(i)));
  const listeners = data.listeners.map((listener) =>
    normalizeListener(listener, data.trusted_proxies, context, {
      ...around(nameOf(listener), data.listeners, services, configured),
      changesUser: server.identity !== null,
    })
  );
  return {
    version: 1,
    server,
    listeners,
    services,
    upstreams: data.upstreams.map((upstream) => normalizeUpstream(upstream, ca, context)),
    pluginDirectory: pathOf(data.plugins.directory, context),
    plugins: configured,
    accessLog: normalizeAccessLog(data.telemetry.access_log, context),
    log: { ...data.telemetry.log, file: pathOf(data.server.error_log, context) },
    metrics: normalizeMetrics(data.telemetry.metrics, context),
    admin: normalizeAdmin(data.admin, context),
  };
}

function pathOf(path: string | undefined, context: NormalizeContext): string | null {
  return path === undefined ? null : context.resolve(path);
}

/** A daemon has one in any case: beside the usual admin socket, where there is one. */
function normalizePidFile(
  { pid_file: written }: FileData["server"],
  daemon: boolean,
  { resolve, adminSocket }: NormalizeContext,
): PidFileConfig | null {
  if (written !== undefined) return { path: resolve(written), named: true };
  if (!daemon || adminSocket === null) return null;
  return { path: adminSocket.replace(/\.sock$/, ".pid"), named: false };
}

function threads(wanted: number | "auto", cores: number): number {
  return wanted === "auto" ? Math.max(1, cores) : wanted;
}

function nameOf({ name, address }: FileData["listeners"][number]): string {
  return name ?? formatAddress(address);
}

/** What shares workers with a listener. */
function around(
  name: string,
  listeners: FileData["listeners"],
  services: readonly ServiceConfig[],
  plugins: readonly PluginConfig[],
): Pick<EngineSurroundings, "siblings" | "inline"> {
  const served = services.filter((service) => service.listeners.includes(name));
  const inline = served.some(({ routes }) =>
    routes.some((route) => route.plugins.some((use) => plugins[use.plugin]!.isolation === "inline"))
  );
  const siblings = listeners.filter((one) =>
    served.some((service) => service.listeners.includes(nameOf(one)))
  );
  return { siblings, inline };
}

function normalizeListener(
  data: FileData["listeners"][number],
  trustedProxies: readonly string[],
  context: NormalizeContext,
  surroundings: EngineSurroundings,
): ListenerConfig {
  const limits = normalizeLimits(data.limits);
  return {
    name: nameOf(data),
    address: absolute(data.address, context.resolve),
    tls: normalizeListenerTls(data, context),
    proxyProtocol: normalizeProxyProtocol(data),
    engine: socketEngine(data, surroundings),
    unixMode: data.unix_mode,
    unixOwner: data.unix_owner ?? null,
    backlog: data.backlog,
    maxConnections: data.max_connections,
    maxTunnels: data.max_tunnels,
    protocols: data.protocols,
    limits,
    http2: normalizeHttp2(data.http2, limits),
    pluginBodyBuffer: data.plugin_body_buffer,
    allowConnect: data.allow_connect,
    abortOnClose: data.abort_on_close,
    trustedProxies: data.trusted_proxies ?? trustedProxies,
    forwarded: data.forwarded,
  };
}

function normalizeLimits(data: FileData["listeners"][number]["limits"]): DownstreamLimits {
  return {
    headBytes: data.head_bytes,
    fields: data.fields,
    targetBytes: data.target_bytes,
    bodyBytes: data.body_bytes,
    headerTimeout: data.header_timeout,
    bodyTimeout: data.body_timeout,
    bodyMinRate: data.body_min_rate,
    keepAliveTimeout: data.keep_alive_timeout,
    requestsPerConnection: data.requests_per_connection,
    writeTimeout: data.write_timeout,
    minSendRate: data.min_send_rate,
    drainBytes: data.drain_bytes,
    drainTimeout: data.drain_timeout,
  };
}

function normalizeAccessLog(
  data: FileData["telemetry"]["access_log"],
  context: NormalizeContext,
): AccessLogConfig {
  const { output, query } = data;
  return {
    output: output === "off" || output === "stdout" ? output : { file: context.resolve(output) },
    query,
  };
}

function normalizeMetrics(
  data: FileData["telemetry"]["metrics"],
  context: NormalizeContext,
): MetricsConfig | null {
  if (data === undefined) return null;
  const { listen, path } = data;
  return { listen: listen === undefined ? null : absolute(listen, context.resolve), path };
}

function normalizeAdmin(data: FileData["admin"], context: NormalizeContext): AdminConfig | null {
  if (data === "off") return null;
  const token = data.token ?? null;
  if (data.listen !== undefined) {
    return { address: absolute(data.listen, context.resolve), named: true, token };
  }
  if (context.adminSocket === null) return null;
  return { address: { kind: "unix", path: context.adminSocket }, named: false, token };
}

/** What holds for one plugin of a setting that is one value for all, or values by name. */
function perPlugin<T extends string | number>(
  setting: T | Readonly<Record<string, T>> | undefined,
  name: string,
): T | null {
  if (setting === undefined) return null;
  if (typeof setting !== "object") return setting;
  return Object.hasOwn(setting, name) ? setting[name]! : null;
}

function normalizePlugin(
  plugin: FoundPlugin,
  data: FileData["plugins"],
  uses: PluginConfig["uses"],
): PluginConfig {
  return {
    name: plugin.name,
    file: plugin.file,
    root: plugin.root,
    isolation: perPlugin<Isolation>(data.isolation, plugin.name) ?? "worker",
    grant: Object.hasOwn(data.grant, plugin.name) ? withoutUndefined(data.grant[plugin.name]!) : {},
    onError: perPlugin<"fail_open" | "fail_closed">(data.on_error, plugin.name),
    timeout: perPlugin<number>(data.timeout, plugin.name),
    heap: perPlugin<number>(data.heap, plugin.name),
    loadTimeout: perPlugin<number>(data.load_timeout, plugin.name) ?? DEFAULT_LOAD_TIMEOUT,
    uses,
  };
}

function withoutUndefined(
  grant: FileData["plugins"]["grant"][string],
): PluginConfig["grant"] {
  if (grant === "as-requested") return grant;
  return Object.fromEntries(Object.entries(grant).filter(([, value]) => value !== undefined));
}
