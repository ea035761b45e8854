/**
 * The phases of a request: the one table that calls, types, deadlines, metrics and documentation come from.
 *
 * The order of the rows is the order of the calls. Semantics are those of Pingora's `ProxyHttp`, each hook
 * under its camelCase name.
 *
 * @module
 */

/**
 * How the hooks of several plugins act together in one phase.
 *
 * - `gate`: in order; the first that answers ends it, and the request.
 * - `first`: in order; the first that returns a value decides.
 * - `chain`: in order; each sees and edits what the former left.
 * - `observe`: all are told; the client never waits for them.
 */
export type CombineKind = "gate" | "first" | "chain" | "observe";

/** What a hook may change in its phase. Anything else it sets is an error. */
export type Mutable =
  | "upstream_request"
  | "upstream_response"
  | "response"
  | "chunk"
  | "trailers"
  | "failure";

/** What the table says of one phase. */
export interface PhaseRow {
  /** How the hooks of several plugins act together. */
  readonly kind: CombineKind;
  /** When it is called, in one sentence; the documentation is made from it. */
  readonly when: string;
  /** What the hook may return, in one sentence. */
  readonly returns: string;
  /** What it may change. */
  readonly mutates: readonly Mutable[];
  /** Default deadline of one call, in milliseconds. */
  readonly timeout: number;
  /** Where an error of the hook leads when the plugin fails closed. */
  readonly onError: "failToProxy" | "errorWhileProxy" | "logged" | "closed";
  /** Pingora's name for it. */
  readonly pingora: string;
  /** Driven by the HTTP cache, which is not part of this version: accepted, and not called yet. */
  readonly cache?: true;
}

const DEFAULT_TIMEOUT = 1000;

/** Every phase: how and when its hooks are called, and what they may do. The order is that of the calls. */
export const PHASES = {
  connectionFilter: {
    kind: "gate",
    when: "After a connection is accepted, before TLS and before a byte is read.",
    returns: "`false` to close the connection at once.",
    mutates: [],
    timeout: 500,
    onError: "closed",
    pingora: "ConnectionFilter::should_accept",
  },
  certificate: {
    kind: "first",
    when:
      "During a TLS handshake, when the listener has no certificate for the name that the client asks for. The answer is kept; `tls.certificate_hook` of the listener says for how long, and how often plugins are asked.",
    returns: "`{ cert, key }` as PEM. Nobody: `tls.unknown_name` of the listener decides.",
    mutates: [],
    timeout: 2_000,
    onError: "closed",
    pingora: "TlsAccept::certificate_callback",
  },
  onConnectionReuse: {
    kind: "chain",
    when:
      "When a further request begins on a connection for which `persistConnectionContext` kept a value.",
    returns: "Nothing.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "on_connection_reuse",
  },
  earlyRequestFilter: {
    kind: "gate",
    when: "First of all, once the head is read and before the built-in modules act.",
    returns: "`session.respond(…)` to answer at once; nothing to go on.",
    mutates: ["upstream_request"],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "early_request_filter",
  },
  allowSpawningSubrequest: {
    kind: "first",
    when: "After `earlyRequestFilter`, also for subrequests.",
    returns: "Whether this request may spawn subrequests. Nobody: `false`.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "allow_spawning_subrequest",
  },
  requestFilter: {
    kind: "gate",
    when:
      "After the built-in modules saw the request: the place to authenticate, limit, redirect or answer.",
    returns: "`session.respond(…)` to answer at once; nothing to go on.",
    mutates: ["upstream_request"],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "request_filter",
  },
  requestCacheFilter: {
    kind: "chain",
    when: "Before the cache is asked: turns it on or off for this request.",
    returns: "Nothing.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "request_cache_filter",
    cache: true,
  },
  cacheKey: {
    kind: "first",
    when: "The cache is on: names the object.",
    returns: "Key parts. Nobody: scheme, authority, path and query.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "cache_key_callback",
    cache: true,
  },
  isPurge: {
    kind: "first",
    when: "The key is known.",
    returns: "Whether this request purges the object. Nobody: `false`.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "is_purge",
    cache: true,
  },
  purgeResponseFilter: {
    kind: "chain",
    when: "After a purge, with the answer to it.",
    returns: "Nothing.",
    mutates: ["response"],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "purge_response_filter",
    cache: true,
  },
  cacheVaryFilter: {
    kind: "first",
    when: "After the lookup, and again before an object is stored.",
    returns: "What the variant is told apart by. Nobody: the `Vary` field decides.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "cache_vary_filter",
    cache: true,
  },
  cacheHitFilter: {
    kind: "first",
    when: "An object was found, fresh or stale.",
    returns: "`force_expired`, `force_miss` or `force_fresh`; nothing to leave it as it is.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "cache_hit_filter",
    cache: true,
  },
  cacheNotModifiedFilter: {
    kind: "first",
    when: "Before an object is sent to a client that sent a condition.",
    returns: "Whether to answer 304. Nobody: RFC 9110 §13 decides.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "cache_not_modified_filter",
    cache: true,
  },
  rangeHeaderFilter: {
    kind: "first",
    when: "Before an object is sent to a client that asked for a range.",
    returns: "The ranges to send. Nobody: RFC 9110 §14 decides.",
    mutates: ["response"],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "range_header_filter",
    cache: true,
  },
  shouldServeStale: {
    kind: "first",
    when:
      "A stale object could be sent, because it is being refreshed or because the upstream failed.",
    returns: "Whether to send it. Nobody: only when the upstream failed.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "should_serve_stale",
    cache: true,
  },
  proxyUpstreamFilter: {
    kind: "gate",
    when: "The cache could not answer: the last stop before an upstream is chosen.",
    returns: "`session.respond(…)` to answer; `false` to refuse with 502; nothing to go on.",
    mutates: ["upstream_request"],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "proxy_upstream_filter",
  },
  upstreamPeer: {
    kind: "first",
    when: "Once for each attempt: chooses who is asked.",
    returns:
      "The name of an upstream group, an address as text, or a peer with options. Nobody: the route's upstream.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "upstream_peer",
  },
  failToConnect: {
    kind: "chain",
    when:
      "The peer could not be connected to. Set `failure.retry` to have `upstreamPeer` asked again.",
    returns: "Nothing.",
    mutates: ["failure"],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "fail_to_connect",
  },
  connectedToUpstream: {
    kind: "chain",
    when: "A new or reused connection is there, and nothing was sent on it yet.",
    returns: "Nothing; a throw ends the attempt.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "connected_to_upstream",
  },
  upstreamRequestFilter: {
    kind: "chain",
    when: "Before the head is sent, once for each attempt, each time on a fresh copy.",
    returns: "Nothing.",
    mutates: ["upstream_request"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "upstream_request_filter",
  },
  requestBodyFilter: {
    kind: "chain",
    when:
      "For each piece of request content, and once with the end; again for what is replayed by a retry.",
    returns: "The piece to send instead, or `null` to send nothing; nothing to send it as it is.",
    mutates: ["chunk"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "request_body_filter",
  },
  upstreamResponseFilter: {
    kind: "chain",
    when:
      "The upstream's head has come, 1xx heads too; what is changed here would be stored by a cache.",
    returns: "Nothing.",
    mutates: ["upstream_response"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "upstream_response_filter",
  },
  upstreamResponseBodyFilter: {
    kind: "chain",
    when: "For each piece of response content as the upstream sent it, and once with the end.",
    returns: "The piece to pass on instead, or `null` for none; nothing to pass it on as it is.",
    mutates: ["chunk"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "upstream_response_body_filter",
  },
  upstreamResponseTrailerFilter: {
    kind: "chain",
    when: "The upstream sent trailers.",
    returns: "Nothing.",
    mutates: ["trailers"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "upstream_response_trailer_filter",
  },
  responseCacheFilter: {
    kind: "first",
    when: "The head has come and the cache is on: says whether and how long it may be stored.",
    returns: "A verdict. Nobody: RFC 9111 decides.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "response_cache_filter",
    cache: true,
  },
  cacheMiss: {
    kind: "observe",
    when: "A response is about to be stored.",
    returns: "Nothing.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "cache_miss",
    cache: true,
  },
  responseFilter: {
    kind: "chain",
    when:
      "Before the head goes to the client: of an upstream's response, and later of a cached one. Not of an answer that a hook made.",
    returns: "Nothing.",
    mutates: ["response"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "response_filter",
  },
  responseBodyFilter: {
    kind: "chain",
    when: "For each piece of content on its way to the client, and once with the end.",
    returns: "The piece to send instead, or `null` to send nothing; nothing to send it as it is.",
    mutates: ["chunk"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "response_body_filter",
  },
  responseTrailerFilter: {
    kind: "chain",
    when: "Before trailers go to the client.",
    returns: "Nothing.",
    mutates: ["trailers"],
    timeout: DEFAULT_TIMEOUT,
    onError: "errorWhileProxy",
    pingora: "response_trailer_filter",
  },
  errorWhileProxy: {
    kind: "chain",
    when:
      "An attempt failed after its connection was there. `failure.retry` says what will happen, and may be set while no head has gone to the client.",
    returns: "Nothing.",
    mutates: ["failure"],
    timeout: DEFAULT_TIMEOUT,
    onError: "failToProxy",
    pingora: "error_while_proxy",
  },
  failToProxy: {
    kind: "first",
    when: "The request has failed for good, and no head has gone to the client.",
    returns: "`session.respond(…)` to send a page of your own. Nobody: a problem document.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "fail_to_proxy",
  },
  suppressErrorLog: {
    kind: "first",
    when: "Before a failed request is written to the operational log.",
    returns: "Whether to leave the line out. Nobody: `false`.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "suppress_error_log",
  },
  requestSummary: {
    kind: "first",
    when: "When a request has to be named in a log line.",
    returns: "The name. Nobody: method, path and host.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "request_summary",
  },
  logging: {
    kind: "observe",
    when: "The request is over, well or not: exactly once, whatever path it took.",
    returns: "Nothing.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "logging",
  },
  persistConnectionContext: {
    kind: "first",
    when: "After `logging`, when the connection will serve another request.",
    returns: "A value for `onConnectionReuse` of the next request.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "persist_connection_context",
  },
  upstreamHealth: {
    kind: "observe",
    when:
      "A member of an upstream has become usable or unusable, outside of any request. What active checks find is told once; an ejection by each service worker that ejects.",
    returns: "Nothing.",
    mutates: [],
    timeout: DEFAULT_TIMEOUT,
    onError: "logged",
    pingora: "HealthObserve::observe",
  },
  tick: {
    kind: "observe",
    when: "Every `tickInterval` of the plugin, outside of any request.",
    returns: "Nothing.",
    mutates: [],
    timeout: 10_000,
    onError: "logged",
    pingora: "BackgroundService",
  },
} as const satisfies Record<string, PhaseRow>;

/** The name of a phase, which is the name of its hook. */
export type PhaseName = keyof typeof PHASES;

/** All phases in the order of their calls; the position is the phase's number on the wire. */
export const PHASE_NAMES: readonly PhaseName[] = Object.keys(PHASES) as PhaseName[];

/** The row of a phase, typed loosely enough to be read in loops. */
export function phaseRow(name: PhaseName): PhaseRow {
  return PHASES[name];
}
