/**
 * What people will try that this version does not do. It is refused by name, never passed over in silence.
 *
 * @module
 */

/** What to do instead. */
type Remedy = string;

const TLS_IN_FRONT = "end TLS in front of Sluice for now; tls towards upstreams does work";
const SUPERVISE = "let the service manager (systemd, a container runtime) do it";

/** Keys by place; `[]` is any entry of a list. */
export const LATER_KEYS: Readonly<Record<string, Remedy>> = {
  "admin": "remove it; there is no admin interface yet",
  "metrics": "remove it; the access log has a line for each request",
  "tracing": "remove it; the access log has a line for each request",
  "cache": "remove it; nothing is cached",
  "rate_limit": "use a plugin",
  "telemetry.metrics": "remove it; the access log has a line for each request",
  "telemetry.tracing": "remove it; the access log has a line for each request",
  "telemetry.access_log.fields": "remove it; every field is written",
  "telemetry.access_log.conditions": "remove it; every request is written",
  "telemetry.access_log.sample": "remove it; every request is written",
  "telemetry.access_log.status": "remove it; every request is written",
  "telemetry.access_log.min_duration": "remove it; every request is written",
  "server.shutdown_delay": "remove it; a drain starts at once",
  "server.pid_file": SUPERVISE,
  "server.daemon": SUPERVISE,
  "server.daemon_wait_for_ready": SUPERVISE,
  "server.user": SUPERVISE,
  "server.group": SUPERVISE,
  "server.working_directory": SUPERVISE,
  "server.error_log": "the operational log goes to stderr; redirect that",
  "server.upgrade_sock": "remove it; start the new process after the old one has drained",
  "server.graceful_shutdown_timeout_seconds": "use grace_period, which is for the whole drain",
  "server.listener_tasks_per_fd": "use threads",
  "server.work_stealing": "remove it; service workers share one accept queue",
  "server.client_bind_to_ipv4": "use transport.local_address of an upstream",
  "server.client_bind_to_ipv6": "use transport.local_address of an upstream",
  "server.upstream_connect_offload_threadpools": "use threads",
  "server.upstream_connect_offload_thread_per_pool": "use threads",
  "server.upstream_debug_ssl_keylog": "remove it",
  "listeners[].tls": TLS_IN_FRONT,
  "listeners[].proxy_protocol": "use trusted_proxies with X-Forwarded-For or Forwarded",
  "listeners[].http2": "remove it; listeners speak HTTP/1.1",
  "listeners[].compression": "let the upstream compress",
  "services[].cache": "remove it; nothing is cached",
  "services[].routes[].cache": "remove it; nothing is cached",
  "services[].routes[].timeouts": "set them under upstreams[].transport.timeouts",
  "services[].routes[].rate_limit": "use a plugin",
  "services[].routes[].mirror": "remove it",
  "services[].routes[].priority": "put the route further up: the first that matches is taken",
  "services[].routes[].rewrite": "use a plugin that sets session.upstreamRequest.target",
  "services[].routes[].compression": "let the upstream compress",
  "services[].routes[].match.query": "use a plugin",
  "services[].routes[].retry.per_try_timeout": "set transport.timeouts.first_byte of the upstream",
  "services[].routes[].retry.budget": "use attempts and server.max_retries",
  "services[].routes[].plugins[].priority": "the order in the file is the order of the calls",
  "services[].routes[].plugins[].disabled": "remove the entry",
  "services[].plugins[].priority": "the order in the file is the order of the calls",
  "services[].plugins[].disabled": "remove the entry",
  "upstreams[].discovery": "name the endpoints; a host name is looked up at each connect",
  "upstreams[].health_check":
    "remove it; a request that could not connect is tried at another endpoint",
  "upstreams[].circuit_breaker": "use transport.max_connections and max_pending",
  "upstreams[].outlier_detection": "remove it",
  "upstreams[].sticky": "remove it",
  "upstreams[].transport.http2": "remove it; upstreams are asked with HTTP/1.1",
  "upstreams[].transport.proxy_protocol": "use forwarded of the listener",
  "upstreams[].transport.tls.min_version": "remove it; TLS 1.2 and 1.3 are spoken",
  "upstreams[].transport.tls.ciphers": "remove it",
  "upstreams[].transport.tls.alpn": "remove it; upstreams are asked with HTTP/1.1",
  "upstreams[].endpoints[].priority": "remove it",
  "upstreams[].endpoints[].backup": "remove it",
  "upstreams[].endpoints[].zone": "remove it",
};

/** Values by place. */
export const LATER_VALUES: Readonly<Record<string, Readonly<Record<string, Remedy>>>> = {
  "listeners[].protocols[]": {
    h2: "listeners speak HTTP/1.1: write [h1]",
    h2c: "listeners speak HTTP/1.1: write [h1]",
    h3: "listeners speak HTTP/1.1: write [h1]",
  },
  "upstreams[].transport.protocol": {
    h2: "upstreams are asked with HTTP/1.1: write h1",
    h2c: "upstreams are asked with HTTP/1.1: write h1",
    auto: "upstreams are asked with HTTP/1.1: write h1",
  },
  "upstreams[].load_balancing.policy": Object.fromEntries(
    [
      "least_conn",
      "least_connections",
      "p2c",
      "ewma",
      "ip_hash",
      "header_hash",
      "uri_hash",
      "cookie",
      "ketama",
      "hash",
    ].map((policy) => [policy, "use round_robin, weighted or random"]),
  ),
  "services[].routes[].retry.on[]": Object.fromEntries(
    ["500", "502", "503", "504", "429", "timeout", "reset", "5xx", "gateway_error"].map((
      cause,
    ) => [cause, "only connect_failure is tried again"]),
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
