/**
 * What must hold for the source of endpoints.
 *
 * @module
 */
import ipaddr from "ipaddr.js";
import { parseAddress } from "../transport/address.ts";
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";
import { isNetRight } from "./leaves.ts";
import { rawDuration, rawKeys, rawList, rawMap, rawText } from "./raw.ts";
import {
  DISCOVERY_DEFAULTS,
  DISCOVERY_KEYS,
  DISCOVERY_TYPES,
  type DiscoveryType,
} from "./schema_discovery.ts";
import { checkFields, type FieldNames } from "./semantics_fields.ts";
import { formatDuration } from "./units.ts";

type Raw = Readonly<Record<string, unknown>>;

const FIELDS: FieldNames = { own: new Set(["host", "if-none-match", "accept-encoding"]) };

/**
 * Checks where the endpoints of an upstream come from.
 *
 * @param plugins Names of the plugins there are, or `null` when nobody knows.
 */
export function checkSource(
  findings: Findings,
  path: Path,
  upstream: Raw,
  plugins: readonly string[] | null,
): void {
  const value = upstream["discovery"];
  if (value === undefined) {
    if (upstream["endpoints"] !== undefined) return;
    findings.atKey(
      path,
      `"endpoints" is missing in ${path[0] as string}[${String(path[1])}]`,
      "add endpoints: a list of addresses, or discovery",
    );
    return;
  }
  const at = [...path, "discovery"];
  if (upstream["endpoints"] !== undefined) {
    findings.atKey(
      at,
      "discovery stands in place of endpoints, but both are here",
      "remove one of the two",
    );
  }
  const discovery = rawMap(value);
  const type = rawText(discovery["type"]);
  if (type === null || !(DISCOVERY_TYPES as readonly string[]).includes(type)) return;
  checkKeys(findings, at, discovery, type as DiscoveryType);
  checkAllow(findings, at, discovery, type as DiscoveryType);
  checkLookUp(findings, at, discovery);
  checkFields(findings, [...at, "headers"], rawMap(discovery["headers"]), FIELDS);
  const plugin = rawText(discovery["plugin"]);
  if (type === "plugin" && plugin !== null && plugins !== null && !plugins.includes(plugin)) {
    findings.unknown(
      "plugin",
      [...at, "plugin"],
      plugin,
      plugins,
      "put it into the folder of plugins.directory",
    );
  }
}

function checkKeys(findings: Findings, at: Path, discovery: Raw, type: DiscoveryType): void {
  const { needs, has } = DISCOVERY_KEYS[type];
  for (const key of needs) {
    if (discovery[key] !== undefined) continue;
    findings.atKey(at, `${JSON.stringify(key)} is missing for type ${type}`, `add ${key}: …`);
  }
  const known = new Set(["type", "allow", ...needs, ...has]);
  const all = new Set(Object.values(DISCOVERY_KEYS).flatMap((one) => [...one.needs, ...one.has]));
  for (const key of rawKeys(discovery)) {
    if (known.has(key) || !all.has(key)) continue;
    findings.atKey(
      [...at, key],
      `${key} means nothing for type ${type}`,
      `remove it; known for ${type}: ${[...needs, ...has, "allow"].join(", ")}`,
    );
  }
}

function checkAllow(findings: Findings, at: Path, discovery: Raw, type: DiscoveryType): void {
  const { allow } = discovery;
  if (!Array.isArray(allow)) return;
  if (allow.length === 0) {
    findings.atKey(
      [...at, "allow"],
      "no endpoint could be connected to: allow is empty",
      "name networks such as 10.0.0.0/8, or remove allow, which then is any address",
    );
    return;
  }
  // What a look-up finds are addresses, and rights to a name do not cover them.
  if (type !== "dns" && type !== "srv") return;
  allow.forEach((entry, i) => {
    const text = rawText(entry);
    if (text === null || !isNetRight(text) || isNumeric(text)) return;
    const place = [...at, "allow", i];
    findings.at(
      place,
      `${findings.quote(place, text)} is a name, but what a look-up finds are IP addresses`,
      "name networks such as 10.0.0.0/8",
    );
  });
}

function isNumeric(right: string): boolean {
  const host = right.replace(/\/\d+$/, "");
  if (ipaddr.isValid(host)) return true;
  const address = parseAddress(host, 1);
  return typeof address !== "string" && address.kind === "tcp" && ipaddr.isValid(address.host);
}

function checkLookUp(findings: Findings, at: Path, discovery: Raw): void {
  const refresh = rawDuration(discovery["refresh"]);
  const least = rawDuration(discovery["min_ttl"]);
  const most = rawDuration(discovery["max_ttl"]);
  if (refresh !== null && (least !== null || most !== null)) {
    findings.atKey(
      [...at, "refresh"],
      "refresh looks up whatever the records say, so min_ttl and max_ttl mean nothing",
      "remove refresh, or the other two",
    );
  }
  const [low, high] = [least ?? DISCOVERY_DEFAULTS.minTtl, most ?? DISCOVERY_DEFAULTS.maxTtl];
  if (low > high) {
    findings.at(
      [...at, least === null ? "max_ttl" : "min_ttl"],
      `min_ttl of ${formatDuration(low)} is longer than max_ttl of ${formatDuration(high)}`,
      "make max_ttl the longer of the two",
    );
  }
  const { server } = discovery;
  const servers = typeof server === "string" ? [server] : rawList(server);
  servers.forEach((one, i) => {
    const text = rawText(one);
    if (text === null || isNumeric(text)) return;
    const place = typeof server === "string" ? [...at, "server"] : [...at, "server", i];
    findings.at(
      place,
      `name server ${findings.quote(place, text)} is no IP address`,
      'write ip, ip:port or "[ipv6]:port"',
    );
  });
}
