/**
 * What people will try that this version does not do. It is refused by name, never passed over in silence.
 *
 * @module
 */
import { UNSUPPORTED_PEER_OPTIONS } from "../connector/unsupported.ts";

/** What to do instead. */
type Remedy = string;

/** Keys by place; `[]` is any entry of a list. */
export const LATER_KEYS: Readonly<Record<string, Remedy>> = {
  "metrics": "use telemetry.metrics",
  "tracing": "remove it; the access log has a line for each request",
  "cache": "remove it; nothing is cached",
  "rate_limit": "use a plugin",
  "telemetry.tracing": "remove it; the access log has a line for each request",
  "telemetry.access_log.fields": "remove it; every field is written",
  "telemetry.access_log.conditions": "remove it; every request is written",
  "telemetry.access_log.sample": "remove it; every request is written",
  "telemetry.access_log.status": "remove it; every request is written",
  "telemetry.access_log.min_duration": "remove it; every request is written",
  "server.daemon_wait_for_ready": "remove it; whoever starts a daemon waits until it serves",
  "server.daemon_ready_timeout_seconds": "use daemon_ready_timeout, such as 60s",
  "server.daemon_notify_timeout_seconds":
    "remove it; the process that waits is told at once, or not there any more",
  "server.graceful_shutdown_timeout_seconds": "use grace_period, which is for the whole drain",
  "server.upgrade_sock_connect_accept_max_retries":
    "use upgrade_timeout: the new process is waited for, and not tried again",
  "server.max_blocking_threads": "remove it; no thread blocks here",
  "server.blocking_threads_ttl_seconds": "remove it; no thread blocks here",
  "server.s2n_config_cache_size": "remove it; configs of TLS are not made per connection",
  "server.listener_tasks_per_fd": "use threads",
  "server.work_stealing": "remove it; service workers share one accept queue",
  "server.client_bind_to_ipv4": "use transport.local_address of an upstream",
  "server.client_bind_to_ipv6": "use transport.local_address of an upstream",
  "server.upstream_connect_offload_threadpools": "use threads",
  "server.upstream_connect_offload_thread_per_pool": "use threads",
  "server.upstream_debug_ssl_keylog": "remove it",
  "listeners[].tls.ciphers":
    "remove it; the cipher suites are those of the runtime, all of them safe",
  "listeners[].tls.ocsp_stapling": "remove it; nothing is stapled",
  "listeners[].tls.acme":
    "let another program get the certificates; files that change are read again",
  "listeners[].compression": "let the upstream compress",
  "services[].cache": "remove it; nothing is cached",
  "services[].routes[].cache": "remove it; nothing is cached",
  "services[].routes[].rate_limit": "use a plugin",
  "services[].routes[].priority": "put the route further up: the first that matches is taken",
  "services[].routes[].rewrite": "use a plugin that sets session.upstreamRequest.target",
  "services[].routes[].compression": "let the upstream compress",
  "services[].routes[].match.query": "use a plugin",
  "services[].routes[].plugins[].priority": "the order in the file is the order of the calls",
  "services[].routes[].plugins[].disabled": "remove the entry",
  "services[].plugins[].priority": "the order in the file is the order of the calls",
  "services[].plugins[].disabled": "remove the entry",
  "upstreams[].outlier_detection": "use health_check.passive",
  "upstreams[].sticky": "use load_balancing.sticky",
  "upstreams[].discovery.max_endpoints": "remove it; a list of more than 10000 is refused",
  "upstreams[].transport.tls.alpn": "use transport.protocol: auto offers h2 and http/1.1",
  "upstreams[].endpoints[].zone": "write it under labels",
  "services[].routes[].canary": "use split",
};

/** Other names of {@linkcode UNSUPPORTED_PEER_OPTIONS}. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  fast_open: "tcp_fast_open",
  tfo: "tcp_fast_open",
  tos: "dscp",
  recv_buf: "tcp_recv_buf",
  receive_buffer: "tcp_recv_buf",
  send_buf: "tcp_send_buf",
  send_buffer: "tcp_send_buf",
  user_timeout: "tcp_user_timeout",
  cipher_suites: "ciphers",
  groups: "curves",
  port_range: "local_port_range",
  interface: "bind_device",
  mark: "so_mark",
};

/** Why a key cannot be offered at all, or `null`. */
export function impossible(place: string): string | null {
  const match = /^upstreams\[\]\.transport\.(?:tls\.|tcp_keep_alive\.)?(\w+)$/.exec(place);
  if (match === null) return null;
  const key = match[1]!;
  const name = Object.hasOwn(OTHER_NAMES, key) ? OTHER_NAMES[key]! : key;
  return Object.hasOwn(UNSUPPORTED_PEER_OPTIONS, name) ? UNSUPPORTED_PEER_OPTIONS[name]! : null;
}

/** Values by place. */
export const LATER_VALUES: Readonly<Record<string, Readonly<Record<string, Remedy>>>> = {
  "listeners[].protocols[]": {
    h3: "listeners speak HTTP/1.1 and HTTP/2: write [h1, h2]",
  },
  "upstreams[].transport.protocol": {
    h3: "write h2, h2c or auto",
  },
  "upstreams[].health_check.active.type": {
    https: "write http; it is checked over TLS when the transport has it",
  },
  "upstreams[].discovery.type": Object.fromEntries(
    ["kubernetes", "k8s", "consul", "nacos", "docker", "etcd", "eureka"].map((
      registry,
    ) => [registry, "use dns, srv, http or file, or plugin with a plugin that asks it"]),
  ),
  "telemetry.access_log.format": Object.fromEntries(
    ["ecs", "clf", "combined", "common", "caddy", "text"].map((
      format,
    ) => [format, "the access log is JSON: write json"]),
  ),
};

/** Server keys of Pingora, which stand at the top level there. */
export const PINGORA_TOP_LEVEL: ReadonlySet<string> = new Set([
  "threads",
  "grace_period_seconds",
  "max_retries",
  "upstream_keepalive_pool_size",
  "ca_file",
  "pid_file",
  "upgrade_sock",
  "error_log",
  "working_directory",
  "user",
  "group",
  "daemon",
  ...Object.keys(LATER_KEYS).filter((key) => key.startsWith("server.")).map((key) => key.slice(7)),
]);

/** A path with every number made `[]`: `listeners[].tls`. */
export function pattern(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    text += typeof part === "number" ? "[]" : text === "" ? String(part) : `.${String(part)}`;
  }
  return text;
}

/** A path as people write it: `listeners[0].tls`. */
export function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    text += typeof part === "number"
      ? `[${part}]`
      : text === ""
      ? String(part)
      : `.${String(part)}`;
  }
  return text;
}
