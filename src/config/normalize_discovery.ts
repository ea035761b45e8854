/**
 * From `discovery` to {@linkcode DiscoveryConfig}.
 *
 * @module
 */
import type { DnsConfig } from "../balancer/discovery/dns.ts";
import type { PeerTls } from "../connector/peer.ts";
import type { UpstreamData } from "./schema.ts";
import { DISCOVERY_DEFAULTS } from "./schema_discovery.ts";
import type { DiscoveryConfig } from "./types_upstreams.ts";

type DiscoveryData = NonNullable<UpstreamData["discovery"]>;

/**
 * @param resolve Makes a path absolute.
 * @param ca Roots to trust; `null`: those of the system.
 */
export function normalizeDiscovery(
  data: DiscoveryData,
  resolve: (path: string) => string,
  ca: string | null,
): DiscoveryConfig {
  return { source: toSource(data, resolve, ca), allow: data.allow ?? null };
}

function toSource(
  data: DiscoveryData,
  resolve: (path: string) => string,
  ca: string | null,
): DiscoveryConfig["source"] {
  const { backoff, maxBackoff } = DISCOVERY_DEFAULTS;
  const allowEmpty = data.allow_empty ?? false;
  const poll = {
    interval: data.refresh ?? data.interval ?? DISCOVERY_DEFAULTS.interval,
    timeout: data.timeout ?? DISCOVERY_DEFAULTS.timeout,
    backoff,
    maxBackoff,
  };
  switch (data.type) {
    case "dns":
      return { type: "dns", name: data.name!, port: data.port!, ...poll, ...lookUp(data) };
    case "srv":
      return { type: "srv", name: data.name!, ...poll, ...lookUp(data), allowEmpty };
    case "file":
      return { type: "file", path: resolve(data.path!), ...poll, watch: true, allowEmpty };
    case "http": {
      const url = data.url!;
      const headers = data.headers ?? {};
      return { type: "http", url, ...poll, headers, tls: sourceTls(url, ca), allowEmpty };
    }
    case "plugin":
      return { type: "plugin", plugin: data.plugin!, backoff, maxBackoff, allowEmpty };
  }
}

type LookUp = Pick<
  DnsConfig,
  "servers" | "queryTimeout" | "tries" | "families" | "minTtl" | "maxTtl"
>;

function lookUp(data: DiscoveryData): LookUp {
  const { queryTimeout, tries, minTtl, maxTtl } = DISCOVERY_DEFAULTS;
  const { server = [] } = data;
  return {
    servers: typeof server === "string" ? [server] : server,
    queryTimeout,
    tries,
    families: data.family ?? "any",
    // Bounds that leave no choice make the time to live count for nothing.
    minTtl: data.refresh ?? data.min_ttl ?? minTtl,
    maxTtl: data.refresh ?? data.max_ttl ?? maxTtl,
  };
}

/** `null`: the host of the URL, checked against the roots of the system. */
function sourceTls(url: string, ca: string | null): PeerTls | null {
  const { protocol, hostname } = new URL(url);
  if (protocol !== "https:" || ca === null) return null;
  return {
    serverName: hostname.replace(/^\[|\]$/g, ""),
    alternativeName: null,
    verify: true,
    verifyHostname: true,
    ca,
    clientCertificate: null,
  };
}

/** The host that a certificate must bear where endpoints are discovered; empty: the host of each endpoint. */
export function discoveredName(data: DiscoveryData): string {
  const name = (data.name ?? "").replace(/\.$/, "");
  // What an SRV record points to came over an unprotected protocol: the name that was asked for counts (RFC 6125 §1.8).
  if (data.type === "srv") return name.replace(/^(_[^.]+\.)+/, "");
  return data.type === "dns" ? name : "";
}
