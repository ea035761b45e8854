/**
 * What must hold within an upstream, first of all between its endpoints and its transport.
 *
 * @module
 */
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { type EndpointAddress, parseEndpoint, Refusal } from "./leaves.ts";
import { rawInteger, rawList, rawMap, rawText, rawYesNo } from "./raw.ts";
import { checkBalancing } from "./semantics_balancing.ts";
import { checkSource } from "./semantics_discovery.ts";
import { checkBreaker, checkHealth } from "./semantics_health.ts";
import { checkTransport } from "./semantics_transport.ts";

/**
 * Checks one entry of `upstreams`.
 *
 * @param plugins Names of the plugins there are, or `null` when nobody knows.
 */
export function checkUpstream(
  findings: Findings,
  path: Path,
  upstream: Readonly<Record<string, unknown>>,
  plugins: readonly string[] | null,
): void {
  checkSource(findings, path, upstream, plugins);
  checkBalancing(findings, path, upstream);
  const protocol = rawText(rawMap(upstream["transport"])["protocol"]) ?? "h1";
  checkHealth(findings, [...path, "health_check"], upstream["health_check"], protocol);
  checkBreaker(findings, path, upstream);
  const entries = rawList(upstream["endpoints"]);
  checkWeights(findings, [...path, "endpoints"], entries);
  checkTiers(findings, [...path, "endpoints"], entries);
  const endpoints: { at: Path; endpoint: EndpointAddress }[] = [];
  const places = new Map<string, number>();
  entries.forEach((entry, i) => {
    const inMapping = rawText(entry) === null;
    const written = inMapping ? rawText(rawMap(entry)["address"]) : rawText(entry);
    if (written === null) return;
    const endpoint = parseEndpoint(written);
    if (endpoint instanceof Refusal) return;
    const at = inMapping ? [...path, "endpoints", i, "address"] : [...path, "endpoints", i];
    const key = JSON.stringify(endpoint.address);
    const first = places.get(key);
    if (first !== undefined) {
      findings.at(
        at,
        `endpoint ${findings.quote(at, written)} is the same as endpoints[${first}]`,
        "remove one of the two, or give the other a larger weight",
      );
    } else places.set(key, i);
    endpoints.push({ at, endpoint });
  });
  const transport = rawMap(upstream["transport"]);
  checkTls(findings, path, transport["tls"], endpoints);
  checkTransport(findings, [...path, "transport"], transport, endpoints);
}

function checkWeights(findings: Findings, path: Path, entries: readonly unknown[]): void {
  if (
    entries.length === 0 || !entries.every((entry) => rawInteger(rawMap(entry)["weight"]) === 0)
  ) return;
  findings.atKey(
    path,
    "all weights are 0, so no endpoint gets a request",
    "give at least one endpoint a weight of 1 or more",
  );
}

function checkTiers(findings: Findings, path: Path, entries: readonly unknown[]): void {
  const isBackup = (entry: unknown) => rawYesNo(rawMap(entry)["backup"]) === true;
  entries.forEach((entry, i) => {
    if (!isBackup(entry) || rawMap(entry)["priority"] === undefined) return;
    findings.atKey(
      [...path, i, "backup"],
      "backup is a priority of its own, but priority is set, too",
      "keep one of the two",
    );
  });
  if (entries.length === 0 || !entries.every(isBackup)) return;
  findings.atKey(path, "all endpoints are backups, of nobody", "remove backup");
}

function checkTls(
  findings: Findings,
  path: Path,
  tls: unknown,
  endpoints: readonly { at: Path; endpoint: EndpointAddress }[],
): void {
  const said = new Map<boolean, Path>();
  for (const { at, endpoint } of endpoints) {
    if (endpoint.tls === null) continue;
    if (said.has(!endpoint.tls)) {
      findings.at(
        at,
        "http:// and https:// endpoints stand in one upstream",
        "make an upstream for each",
      );
      return;
    }
    said.set(endpoint.tls, at);
  }
  const plain = said.get(false);
  const wanted = tls === true || (typeof tls === "object" && tls !== null);
  if (plain !== undefined && wanted) {
    findings.at(plain, "an http:// endpoint stands beside transport.tls", "write https://");
    return;
  }
  if (said.has(true) && tls === false) {
    findings.at(
      [...path, "transport", "tls"],
      "tls is false, but an endpoint begins with https://",
      "remove tls: false, or write http://",
    );
    return;
  }
  const loose = endpoints.find(({ endpoint }) => endpoint.tls === null);
  if (said.has(true) && !wanted && loose !== undefined) {
    findings.at(
      loose.at,
      "this endpoint has no scheme, but another begins with https://",
      "write https:// before each, or set transport.tls",
    );
    return;
  }
  if (!wanted && !said.has(true)) return;
  const settings = rawMap(tls);
  if (settings["verify"] === false && settings["ca"] !== undefined) {
    findings.atKey(
      [...path, "transport", "tls", "ca"],
      "ca means nothing when verify is false",
      "",
    );
  }
  if (rawText(settings["server_name"]) !== null) return;
  const hosts = new Map<string, Path>();
  for (const { at, endpoint } of endpoints) {
    if (endpoint.address.kind === "unix") {
      findings.at(
        at,
        "TLS over a unix socket needs a name to ask for",
        "set transport.tls.server_name",
      );
      return;
    }
    hosts.set(endpoint.address.host.toLowerCase(), at);
  }
  if (hosts.size > 1) {
    findings.at(
      [...hosts.values()][1]!,
      "the endpoints have different hosts, so the name to ask for is not clear",
      "set transport.tls.server_name, or make an upstream for each host",
    );
  }
}
