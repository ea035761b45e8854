/**
 * From an entry of `upstreams` to its {@linkcode UpstreamConfig}.
 *
 * @module
 */
import type { PeerOptions, PeerTls } from "../connector/peer.ts";
import { absolute } from "./absolute.ts";
import type { EndpointAddress } from "./leaves.ts";
import type { UpstreamData } from "./schema.ts";
import type { EndpointConfig, UpstreamConfig } from "./types.ts";

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
  const entries = data.endpoints.map((entry) => isWeighted(entry) ? entry : weighted(entry));
  return {
    name: data.name,
    policy: data.load_balancing.policy,
    endpoints: entries.map((entry): EndpointConfig => ({
      address: absolute(entry.address.address, context.resolve),
      weight: entry.weight,
    })),
    tls: normalizeTls(data, entries.map((entry) => entry.address), ca, context),
    options: normalizeOptions(data.transport),
  };
}

interface Weighted {
  readonly address: EndpointAddress;
  readonly weight: number;
}

function isWeighted(entry: UpstreamData["endpoints"][number]): entry is Weighted {
  return "weight" in entry;
}

function weighted(address: EndpointAddress): Weighted {
  return { address, weight: 1 };
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
  const first = endpoints[0]!.address;
  const host = first.kind === "tcp" ? first.host : "";
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
  };
}

function normalizeOptions(data: UpstreamData["transport"]): PeerOptions {
  return {
    connectTimeout: data.timeouts.connect,
    tlsTimeout: data.timeouts.tls,
    totalConnectTimeout: data.timeouts.total_connect,
    firstByteTimeout: data.timeouts.first_byte,
    readTimeout: data.timeouts.read,
    writeTimeout: data.timeouts.write,
    idleTimeout: data.keepalive.idle_timeout,
    maxIdle: data.keepalive.max_idle,
    maxConnections: data.max_connections,
    maxPending: data.max_pending,
    pendingTimeout: data.pending_timeout,
    localAddress: data.local_address ?? null,
    tcpKeepAlive: Math.ceil(data.tcp_keep_alive / 1000),
  };
}
