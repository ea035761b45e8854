/**
 * From an entry of `upstreams` to its {@linkcode UpstreamConfig}.
 *
 * @module
 */
import type { FullPeerOptions, PeerTls } from "../connector/peer.ts";
import { absolute } from "./absolute.ts";
import type { EndpointAddress } from "./leaves.ts";
import { normalizeBalancing } from "./normalize_balancing.ts";
import { discoveredName, normalizeDiscovery } from "./normalize_discovery.ts";
import { normalizeBreaker, normalizeHealth } from "./normalize_health.ts";
import { normalizePeerHttp2 } from "./normalize_http2.ts";
import type { UpstreamData } from "./schema.ts";
import type { EndpointConfig, UpstreamConfig } from "./types_upstreams.ts";

interface Context {
  readonly resolve: (path: string) => string;
  readonly file: (path: string) => string;
}

/** @param ca Roots to trust where the upstream names none; `null`: those of the system. */
export function normalizeUpstream(
  data: UpstreamData,
  ca: string | null,
  context: Context,
): UpstreamConfig {
  const entries = (data.endpoints ?? []).map((entry) => isMapping(entry) ? entry : bare(entry));
  const lowest = Math.max(-1, ...entries.filter((one) => !one.backup).map((one) => one.priority));
  const { discovery } = data;
  return {
    name: data.name,
    balancing: normalizeBalancing(data.load_balancing),
    endpoints: entries.map((entry): EndpointConfig => ({
      address: absolute(entry.address.address, context.resolve),
      weight: entry.weight,
      priority: entry.backup ? lowest + 1 : entry.priority,
      labels: { ...entry.labels },
    })),
    discovery: discovery === undefined ? null : normalizeDiscovery(discovery, context.resolve, ca),
    health: normalizeHealth(data.health_check),
    breaker: normalizeBreaker(data.circuit_breaker),
    tls: normalizeTls(data, entries.map((entry) => entry.address), ca, context),
    options: normalizeOptions(
      data.transport,
      data.circuit_breaker?.max_connections,
      context.resolve,
    ),
  };
}

type Entry = Exclude<NonNullable<UpstreamData["endpoints"]>[number], EndpointAddress>;

function isMapping(entry: EndpointAddress | Entry): entry is Entry {
  return "weight" in entry;
}

function bare(address: EndpointAddress): Entry {
  return { address, weight: 1, priority: 0, backup: false, labels: {} };
}

function normalizeTls(
  data: UpstreamData,
  endpoints: readonly EndpointAddress[],
  ca: string | null,
  context: Context,
): PeerTls | null {
  const given = data.transport.tls;
  const wanted = given === undefined || given === false
    ? endpoints.some((endpoint) => endpoint.tls === true)
    : true;
  if (!wanted) return null;
  const settings = typeof given === "object" ? given : null;
  const first = endpoints[0]?.address;
  const host = first === undefined
    ? discoveredName(data.discovery!)
    : first.kind === "tcp"
    ? first.host
    : "";
  const pair = settings?.client_certificate;
  return {
    serverName: settings?.server_name ?? host,
    alternativeName: settings?.alternative_name ?? null,
    verify: settings?.verify ?? true,
    verifyHostname: settings?.verify_hostname ?? true,
    ca: settings?.ca === undefined ? ca : context.file(settings.ca),
    clientCertificate: pair === undefined
      ? null
      : { cert: context.file(pair.cert), key: context.file(pair.key) },
    minVersion: `TLSv${settings?.min_version ?? "1.2"}`,
    maxVersion: `TLSv${settings?.max_version ?? "1.3"}`,
  };
}

function normalizeOptions(
  data: UpstreamData["transport"],
  maxConnections: number | undefined,
  resolve: (path: string) => string,
): FullPeerOptions {
  const { proxy, http2 } = data;
  return {
    connectTimeout: data.timeouts.connect,
    tlsTimeout: data.timeouts.tls,
    totalConnectTimeout: data.timeouts.total_connect,
    firstByteTimeout: data.timeouts.first_byte,
    readTimeout: data.timeouts.read,
    writeTimeout: data.timeouts.write,
    tunnelIdleTimeout: data.timeouts.tunnel_idle,
    tunnelTimeout: data.timeouts.tunnel,
    idleTimeout: data.keepalive.idle_timeout,
    maxIdle: data.keepalive.max_idle,
    maxConnections: maxConnections ?? data.max_connections,
    maxPending: data.max_pending,
    pendingTimeout: data.pending_timeout,
    maxAge: data.max_age,
    maxRequests: data.max_requests,
    prewarm: data.prewarm,
    groupKey: data.group_key ?? null,
    proxy: proxy === undefined ? null : {
      address: absolute(proxy.address.address, resolve),
      headers: Object.entries(proxy.headers),
    },
    proxyProtocol: data.proxy_protocol ?? null,
    protocol: data.protocol,
    http2: normalizePeerHttp2(http2),
    localAddress: data.local_address ?? null,
    localAddressFallback: data.local_address_fallback,
    tcpKeepAlive: Math.ceil(data.tcp_keep_alive / 1000),
  };
}
