/**
 * Every metric there is: the one table that collection, exposition and the manual come from.
 *
 * Where OpenTelemetry has a name for it, it bears that, in the spelling of Prometheus; what is Sluice's own begins with
 * `sluice_`. The values of labels are names from the config and words of tables of the program, never anything that a
 * client sends: so a client cannot make a series.
 *
 * @module
 */

/** How the values of several threads become one. */
export type Merge = "sum" | "min" | "max";

/** What the table says of one metric. */
export interface FamilyRow {
  readonly type: "counter" | "gauge" | "histogram";
  /** One sentence. */
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of the buckets of a histogram, ascending; the last, unbounded one goes without saying. */
  readonly buckets?: readonly number[];
  /** For a gauge that several threads tell. Default `sum`. */
  readonly merge?: Merge;
  /** For a gauge that only service workers which take new requests know, and not those that were replaced. */
  readonly serving?: true;
}

/** Those of OpenTelemetry for durations of HTTP requests, in seconds. */
const REQUEST_SECONDS = [
  ...[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
] as const;
/** A hook is a crossing of threads, not of networks. */
const HOOK_SECONDS = [
  ...[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
] as const;

/** A tunnel may last for days. */
const TUNNEL_SECONDS = [1, 10, 60, 300, 1_800, 7_200, 43_200, 86_400] as const;

/** Every metric by its name. Adding one is adding a row; counters end in `_total`. */
export const FAMILIES = {
  // Requests
  http_server_request_duration_seconds: {
    type: "histogram",
    help:
      "Time from the head of a request to the end of its response. Its count is the number of requests.",
    labels: [
      "http_route",
      "http_request_method",
      "http_response_status_code",
      "network_protocol_version",
      "url_scheme",
    ],
    buckets: REQUEST_SECONDS,
  },
  sluice_time_to_first_byte_seconds: {
    type: "histogram",
    help: "Time from the head of a request to the head of the upstream's response to it.",
    labels: ["http_route"],
    buckets: REQUEST_SECONDS,
  },
  http_server_active_requests: {
    type: "gauge",
    help: "Requests being served.",
    labels: ["service"],
  },
  sluice_request_body_bytes_total: {
    type: "counter",
    help: "Content received from clients.",
    labels: ["http_route"],
  },
  sluice_response_body_bytes_total: {
    type: "counter",
    help: "Content sent to clients.",
    labels: ["http_route"],
  },
  sluice_request_errors_total: {
    type: "counter",
    help: "Requests that failed for good, by the type of the error and the side it came from.",
    labels: ["service", "error_type", "source"],
  },
  sluice_refused_requests_total: {
    type: "counter",
    help: "Requests too malformed to have a route; they are in no other metric of requests.",
    labels: ["listener", "error_type"],
  },
  // Tunnels and calls
  sluice_tunnels: {
    type: "gauge",
    help: "Open tunnels: WebSockets, other upgrades, and CONNECT.",
    labels: ["service"],
  },
  sluice_tunnels_rejected_total: {
    type: "counter",
    help: "Requests for a tunnel that were one too many for `max_tunnels` of the listener.",
    labels: ["listener"],
  },
  sluice_tunnel_duration_seconds: {
    type: "histogram",
    help:
      "How long tunnels were open, by the protocol in them and by why they are over. In the metrics of requests, a tunnel counts with the time to its opening.",
    labels: ["http_route", "protocol", "end"],
    buckets: TUNNEL_SECONDS,
  },
  sluice_tunnel_bytes_total: {
    type: "counter",
    help: "Bytes that were received from clients, and sent to them, in tunnels that are over.",
    labels: ["http_route", "direction"],
  },
  sluice_grpc_calls_total: {
    type: "counter",
    help:
      "gRPC calls, gRPC-web included, by their status code; empty if a call ended without one, `other` if there is no such code.",
    labels: ["http_route", "rpc_grpc_status_code"],
  },
  // Connections of clients
  sluice_connections: {
    type: "gauge",
    help: "Open connections of clients.",
    labels: ["listener", "protocol"],
  },
  sluice_connections_opened_total: {
    type: "counter",
    help: "Connections of clients that began to speak a protocol.",
    labels: ["listener", "protocol"],
  },
  sluice_connections_accepted_total: {
    type: "counter",
    help: "Connections accepted.",
    labels: ["listener"],
  },
  sluice_connections_rejected_total: {
    type: "counter",
    help:
      "Connections closed before their first request: one too many for `max_connections`, turned away by a `plugin`, a missing or wrong `proxy_header`, a handshake that failed (`tls_failure`) or took too long (`tls_timeout`), a `client_certificate` that is missing or not accepted.",
    labels: ["listener", "reason"],
  },
  sluice_tls_certificate_not_after_seconds: {
    type: "gauge",
    help: "Until when a certificate of a listener is valid, in seconds since 1970.",
    labels: ["listener", "name"],
    merge: "max",
  },
  sluice_tls_certificates_current: {
    type: "gauge",
    help: "1 if a listener shows what its files hold; 0 if those have changed and cannot be used.",
    labels: ["listener"],
    merge: "min",
  },
  // Upstreams
  http_client_request_duration_seconds: {
    type: "histogram",
    help:
      "Time from the beginning of an attempt to its response head or its failure. Its count is the number of attempts, hedges and copies included.",
    labels: ["upstream", "outcome"],
    buckets: REQUEST_SECONDS,
  },
  sluice_upstream_retries_total: {
    type: "counter",
    help: "Attempts given up for another one, by the type of the error.",
    labels: ["upstream", "error_type"],
  },
  sluice_upstream_replays_total: {
    type: "counter",
    help: "Attempts that only made good for a pooled connection that turned out to be dead.",
    labels: ["upstream"],
  },
  sluice_upstream_hedges_total: {
    type: "counter",
    help: "Others asked because an answer was late.",
    labels: ["upstream"],
  },
  sluice_mirrored_requests_total: {
    type: "counter",
    help: "Copies to a mirror: answered, failed, or not made because of its limits.",
    labels: ["http_route", "upstream", "outcome"],
  },
  sluice_retry_budget_left: {
    type: "gauge",
    help: "Retries that the budget of a route would allow now.",
    labels: ["http_route"],
    serving: true,
  },
  sluice_retry_budget_exhausted_total: {
    type: "counter",
    help: "Retries that were not made because the budget was used up.",
    labels: ["http_route"],
  },
  sluice_upstream_breakers: {
    type: "gauge",
    help: "Circuit breakers by state; each service worker has one for each upstream with limits.",
    labels: ["upstream", "state"],
    serving: true,
  },
  sluice_upstream_breaker_opened_total: {
    type: "counter",
    help: "How often a circuit breaker opened.",
    labels: ["upstream"],
  },
  sluice_upstream_breaker_refused_total: {
    type: "counter",
    help: "Attempts that a circuit breaker did not let in.",
    labels: ["upstream", "reason"],
  },
  sluice_upstream_active_requests: {
    type: "gauge",
    help: "Attempts that an endpoint works on.",
    labels: ["upstream", "endpoint"],
  },
  sluice_upstream_requests_total: {
    type: "counter",
    help: "Attempts that an endpoint was given.",
    labels: ["upstream", "endpoint"],
  },
  sluice_upstream_failures_total: {
    type: "counter",
    help: "Attempts that failed at an endpoint without a response head.",
    labels: ["upstream", "endpoint"],
  },
  sluice_upstream_healthy: {
    type: "gauge",
    help: "1 if every service worker may use an endpoint, 0 if one may not.",
    labels: ["upstream", "endpoint"],
    merge: "min",
    serving: true,
  },
  sluice_upstream_weight: {
    type: "gauge",
    help: "The weight of an endpoint; 0 if it was taken out.",
    labels: ["upstream", "endpoint"],
    merge: "max",
    serving: true,
  },
  sluice_upstream_panic: {
    type: "gauge",
    help:
      "Service workers that ignore the health of an upstream because too few endpoints are usable.",
    labels: ["upstream"],
    serving: true,
  },
  sluice_upstream_health_flips_total: {
    type: "counter",
    help:
      "How often an endpoint became usable or unusable. What traffic has shown counts once for each service worker.",
    labels: ["upstream", "kind"],
  },
  sluice_upstream_connections: {
    type: "gauge",
    help:
      "Connections to an endpoint by state, and requests that wait for one. What plugins have named is `other`.",
    labels: ["upstream", "endpoint", "state"],
  },
  sluice_upstream_streams: {
    type: "gauge",
    help: "Requests on the connections to an endpoint; with HTTP/2 one connection carries many.",
    labels: ["upstream", "endpoint"],
  },
  sluice_upstream_connections_opened_total: {
    type: "counter",
    help: "Connections made to an endpoint.",
    labels: ["upstream", "endpoint"],
  },
  sluice_upstream_connections_reused_total: {
    type: "counter",
    help: "Attempts that found a connection in the pool.",
    labels: ["upstream", "endpoint"],
  },
  sluice_upstream_connections_failed_total: {
    type: "counter",
    help: "Connections that could not be made.",
    labels: ["upstream", "endpoint", "error_type"],
  },
  sluice_upstream_connections_closed_total: {
    type: "counter",
    help: "Connections to an endpoint that ended, by why.",
    labels: ["upstream", "endpoint", "reason"],
  },
  sluice_upstream_connect_seconds_total: {
    type: "counter",
    help: "Time that making connections took, by step: lookup, connect, tls.",
    labels: ["upstream", "endpoint", "step"],
  },
  sluice_discovery_updates_total: {
    type: "counter",
    help: "Lists of endpoints that a discovery has found.",
    labels: ["upstream"],
  },
  sluice_discovery_failures_total: {
    type: "counter",
    help: "Times that a discovery began to fail; the last good list stays.",
    labels: ["upstream"],
  },
  sluice_discovery_working: {
    type: "gauge",
    help: "1 if the last answer of a discovery was good.",
    labels: ["upstream"],
  },
  sluice_upstream_endpoints: {
    type: "gauge",
    help: "Endpoints of an upstream.",
    labels: ["upstream"],
  },
  // Plugins
  sluice_plugin_hook_duration_seconds: {
    type: "histogram",
    help: "Time that a hook took, its way to the sandbox and back included.",
    labels: ["plugin", "phase"],
    buckets: HOOK_SECONDS,
  },
  sluice_plugin_errors_total: {
    type: "counter",
    help: "Hooks that failed: the plugin threw, was late, or could not be called.",
    labels: ["plugin", "phase", "kind"],
  },
  sluice_plugin_channel_full_total: {
    type: "counter",
    help:
      "How often calls had to wait in a service worker because the memory that it shares with a sandbox was full.",
    labels: ["plugin"],
  },
  sluice_plugin_up: {
    type: "gauge",
    help: "1 if the sandbox of a plugin runs.",
    labels: ["plugin", "isolation"],
  },
  sluice_plugin_crashes_total: {
    type: "counter",
    help: "How often the sandbox of a plugin ended by itself or was ended for what it did.",
    labels: ["plugin", "cause"],
  },
  sluice_plugin_restarts_total: {
    type: "counter",
    help: "How often a plugin was started again, after a crash or because it was told to.",
    labels: ["plugin", "reason"],
  },
  // The program
  sluice_workers: {
    type: "gauge",
    help: "Service workers that serve.",
    labels: ["service"],
  },
  sluice_worker_restarts_total: {
    type: "counter",
    help: "Service workers that died or hung and were replaced.",
    labels: ["service"],
  },
  sluice_worker_connections_lost_total: {
    type: "counter",
    help: "Connections that service workers had which died or hung, as they last said.",
    labels: ["service"],
  },
  sluice_retired_editions: {
    type: "gauge",
    help:
      "Editions of the config before the one that serves that have requests or tunnels left, over all service workers.",
    labels: ["service"],
  },
  sluice_retired_requests_cut_total: {
    type: "counter",
    help:
      "Requests and tunnels of older editions that were cut, because more than `server.max_retired_editions` had some left.",
    labels: ["service"],
  },
  sluice_worker_threads_hung: {
    type: "gauge",
    help: "Threads of service workers that hung and cannot be ended; each may take a core.",
    labels: ["service"],
  },
  sluice_log_lines_dropped_total: {
    type: "counter",
    help: "Log lines dropped because they could not be written, or nobody took them in time.",
    labels: ["log"],
  },
  sluice_unhandled_errors_total: {
    type: "counter",
    help: "Errors that nobody caught; the program goes on.",
    labels: ["thread"],
  },
  sluice_config_generation: {
    type: "gauge",
    help: "Which config runs, from 1; each reload that succeeds adds one.",
    labels: [],
    merge: "max",
  },
  sluice_config_last_reload_successful: {
    type: "gauge",
    help: "1 if the last load of the config succeeded.",
    labels: [],
    merge: "min",
  },
  sluice_config_last_reload_success_timestamp_seconds: {
    type: "gauge",
    help: "When the config was last loaded with success, in seconds since 1970.",
    labels: [],
    merge: "max",
  },
  sluice_config_reloads_total: {
    type: "counter",
    help: "Reloads of the config.",
    labels: ["result"],
  },
  sluice_build_info: {
    type: "gauge",
    help: "Always 1; the labels say what runs.",
    labels: ["version", "deno"],
    merge: "max",
  },
  process_start_time_seconds: {
    type: "gauge",
    help: "When the process began, in seconds since 1970.",
    labels: [],
    merge: "max",
  },
  process_cpu_seconds_total: {
    type: "counter",
    help: "CPU time of the process, all threads together.",
    labels: [],
  },
  process_resident_memory_bytes: {
    type: "gauge",
    help: "Resident memory of the process.",
    labels: [],
    merge: "max",
  },
  process_open_fds: {
    type: "gauge",
    help: "Open file descriptors.",
    labels: [],
    merge: "max",
  },
  process_max_fds: {
    type: "gauge",
    help: "File descriptors that may be open.",
    labels: [],
    merge: "max",
  },
} as const satisfies Readonly<Record<string, FamilyRow>>;

/** The name of a row of {@linkcode FAMILIES}. */
export type FamilyName = keyof typeof FAMILIES;

/** As many texts as there are names. */
type Texts<Names extends readonly string[]> = { readonly [Index in keyof Names]: string };

/** One value for each label of a metric. */
export type LabelValues<Name extends FamilyName> = Texts<(typeof FAMILIES)[Name]["labels"]>;

/** Names of the metrics of one type. */
export type NamesOf<Type extends FamilyRow["type"]> = {
  [Name in FamilyName]: (typeof FAMILIES)[Name]["type"] extends Type ? Name : never;
}[FamilyName];

/** The row of a metric. */
export function familyRow(name: FamilyName): FamilyRow {
  return FAMILIES[name];
}

/** How many numbers one series of a metric takes: the sum and each bucket of a histogram, else one. */
export function familyWidth(name: FamilyName): number {
  const { type, buckets = [] } = familyRow(name);
  return type === "histogram" ? 2 + buckets.length : 1;
}
