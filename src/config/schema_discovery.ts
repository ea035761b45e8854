/**
 * The schema of `discovery`: where an upstream learns its endpoints from.
 *
 * @module
 */
import { z } from "zod";
import { duration, integer, leaf, name, netRight, Refusal, text, yesNo } from "./leaves.ts";
import { fieldValues, mapping, optional, required } from "./schema_base.ts";
import { formatDuration as ms } from "./units.ts";

const dnsName = () =>
  leaf("a host name", { type: "string" }, (value) => {
    if (typeof value !== "string") return new Refusal("", "", true);
    if (value.length > 253) return new Refusal("it is longer than 253 characters");
    const label = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
    return value.replace(/\.$/, "").split(".").every((part) => label.test(part))
      ? value
      : new Refusal("");
  });

const httpUrl = () =>
  leaf("an http:// or https:// URL", { type: "string" }, (value) => {
    if (typeof value !== "string") return new Refusal("", "", true);
    const url = URL.parse(value);
    if (url === null || !/^https?:$/.test(url.protocol)) return new Refusal("");
    if (url.username !== "" || url.password !== "") {
      return new Refusal("it has a user name or password", "set authorization under headers");
    }
    if (url.port === "0") return new Refusal("port 0 cannot be connected to");
    return url.hash === "" ? url.href : new Refusal("it has a fragment", "leave #… out");
  });

/** Kinds of sources. */
export const DISCOVERY_TYPES = ["dns", "srv", "file", "http", "plugin"] as const;
export type DiscoveryType = typeof DISCOVERY_TYPES[number];

/** The keys that each kind of source has, beside `type` and `allow`; and those of them that it needs. */
export const DISCOVERY_KEYS: Readonly<
  Record<DiscoveryType, { readonly needs: readonly string[]; readonly has: readonly string[] }>
> = {
  dns: {
    needs: ["name", "port"],
    has: ["refresh", "server", "family", "min_ttl", "max_ttl", "timeout"],
  },
  srv: {
    needs: ["name"],
    has: ["refresh", "server", "family", "min_ttl", "max_ttl", "timeout", "allow_empty"],
  },
  file: { needs: ["path"], has: ["interval", "timeout", "allow_empty"] },
  http: { needs: ["url"], has: ["interval", "timeout", "headers", "allow_empty"] },
  plugin: { needs: ["plugin"], has: ["allow_empty"] },
};

/** What holds where a source has a key and nothing is said. Milliseconds. */
export const DISCOVERY_DEFAULTS = {
  interval: 30_000,
  timeout: 10_000,
  backoff: 1_000,
  maxBackoff: 60_000,
  minTtl: 1_000,
  maxTtl: 300_000,
  queryTimeout: 2_000,
  tries: 2,
} as const;

const D = DISCOVERY_DEFAULTS;

/** Where endpoints come from. Which kind has which keys is checked apart: here, all are optional. */
export const discoverySchema = () =>
  mapping({
    type: required(
      z.enum(DISCOVERY_TYPES),
      "`dns`: addresses of a name. `srv`: SRV records. `file`: a file, watched. `http`: JSON, polled. `plugin`: what a plugin finds.",
    ),
    name: optional(dnsName(), "Name to look up. Required for `dns` and `srv`."),
    port: optional(integer(1, 65_535), "Port of the endpoints. Required for `dns`."),
    refresh: optional(
      duration(1000),
      "How often to look up, whatever the records say (`dns`, `srv`). Default: when they expire.",
    ),
    server: optional(
      z.union([text("an IP address"), z.array(text("an IP address")).min(1)]),
      "Name servers, `ip` or `ip:port` (`dns`, `srv`). Default: those of the system.",
    ),
    family: optional(
      z.enum(["any", "ipv4", "ipv6"]),
      "Kind of addresses (`dns`, `srv`). Default: `any`.",
    ),
    min_ttl: optional(
      duration(1000),
      `Records are kept at least that long (\`dns\`, \`srv\`). Default: \`${ms(D.minTtl)}\`.`,
    ),
    max_ttl: optional(
      duration(1000),
      `Records are kept at most that long (\`dns\`, \`srv\`). Default: \`${ms(D.maxTtl)}\`.`,
    ),
    path: optional(
      text("the path of a file"),
      "YAML or JSON file with a list of endpoints. Required for `file`.",
    ),
    url: optional(
      httpUrl(),
      "Where a JSON list of endpoints is. Required for `http`. Redirects are not followed.",
    ),
    interval: optional(
      duration(100),
      `How often to ask, or to read the file besides watching it (\`http\`, \`file\`). Default: \`${
        ms(D.interval)
      }\`.`,
    ),
    timeout: optional(
      duration(1),
      `For one answer, all of it (not \`plugin\`). Default: \`${ms(D.timeout)}\`.`,
    ),
    headers: optional(fieldValues(), "Fields of the request (`http`)."),
    plugin: optional(name(), "Name of the plugin. Required for `plugin`."),
    allow_empty: optional(
      yesNo(),
      "Whether a list without endpoints is believed (not `dns`). Default: `false`, the last good list stays.",
    ),
    allow: optional(
      z.array(netRight()),
      "Addresses that may be connected to: `host:port`, `host`, `*.domain` or networks. Default: any.",
    ),
  });
