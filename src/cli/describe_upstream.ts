/**
 * Upstreams in words, and how routes ask them.
 *
 * @module
 */
import { withoutCredentials } from "../config/secrets.ts";
import { formatDuration, formatPercent } from "../config/units.ts";
import type { RouteConfig } from "../config/types.ts";
import type { EndpointConfig, UpstreamConfig } from "../config/types_upstreams.ts";
import { GRPC_STATUS } from "../http/grpc.ts";
import { formatAddress } from "../transport/address.ts";
import { count, table } from "./output.ts";

/** Statuses of gRPC by their code. */
const GRPC_NAMES = Object.keys(GRPC_STATUS);

type HashKey = NonNullable<UpstreamConfig["balancing"]["hashKey"]>;
type Active = NonNullable<UpstreamConfig["health"]["active"]>;
type Passive = NonNullable<UpstreamConfig["health"]["passive"]>;
type Source = NonNullable<UpstreamConfig["discovery"]>["source"];
type Statuses = RouteConfig["retry"]["statuses"];

const ms = formatDuration;

/** What is hashed. */
export function hashKeyText(key: HashKey): string {
  if (key.kind === "client_address") return "address";
  return "name" in key ? `${key.kind} ${key.name}` : key.kind;
}

/** Where an upstream is, in a few words. */
export function addressesText(upstream: UpstreamConfig): string {
  if (upstream.discovery !== null) return sourceText(upstream.discovery.source);
  const addresses = upstream.endpoints.map((one) => formatAddress(one.address));
  return addresses.slice(0, 3).join(" ") + (addresses.length > 3 ? " …" : "");
}

/** An upstream with all that is out of the ordinary about it. */
export function describeUpstream(upstream: UpstreamConfig): string {
  const { balancing, health, discovery, breaker } = upstream;
  const rows: string[][] = [["policy", policyText(upstream)]];
  for (const [priority, members] of tiers(upstream.endpoints)) {
    rows.push([`tier ${priority}`, members.map(endpointText).join(", ")]);
  }
  if (discovery !== null) {
    rows.push(["discovery", sourceText(discovery.source)]);
    rows.push([
      "may reach",
      discovery.allow === null
        ? "any address, because discovery.allow is not set"
        : discovery.allow.join(" "),
    ]);
  }
  if (balancing.sticky !== null) {
    const { cookie, maxAge, secure, secret } = balancing.sticky;
    rows.push([
      "sticky",
      `cookie ${cookie}, ${
        maxAge === undefined ? "until the browser is closed" : `for ${ms(maxAge * 1000)}`
      }${secure === true ? ", over TLS only" : ""}${
        secret === null ? ", secret drawn at each start" : ""
      }`,
    ]);
  }
  rows.push(["health", health.active === null ? "not checked" : activeText(health.active)]);
  if (health.passive !== null) rows.push(["ejection", passiveText(health.passive)]);
  if (breaker !== null) rows.push(["breaker", breakerText(breaker)]);
  rows.push(...transportRows(upstream));
  return `\nUpstream ${upstream.name}\n${table(rows, "  ")}`;
}

/** An upstream for programs, without what may be secret. */
export function summarizeUpstream(upstream: UpstreamConfig): unknown {
  const { name, balancing, endpoints, discovery, health, breaker, tls } = upstream;
  const { sticky, ...choice } = balancing;
  return {
    name,
    ...choice,
    sticky: sticky === null
      ? null
      : { ...sticky, secret: sticky.secret === null ? null : "(secret)" },
    endpoints,
    discovery: discovery === null ? null : {
      type: discovery.source.type,
      from: sourceText(discovery.source),
      allow: discovery.allow,
    },
    health: {
      active: health.active === null
        ? null
        : { ...health.active.settings, check: checkText(health.active) },
      passive: health.passive,
    },
    breaker,
    protocol: upstream.options.protocol,
    tls: tls !== null,
  };
}

/** How a route asks its upstreams, where it says so itself; one entry per thing. */
export function attemptsText(route: RouteConfig): string[] {
  const lines: string[] = [];
  const { retry, hedge, mirrors, timeouts } = route;
  const causes = [
    ...retry.on,
    ...statusTexts(retry.statuses),
    ...retry.grpcStatuses.map((code) => `grpc:${GRPC_NAMES[code]}`),
  ];
  const isPlain = retry.attempts === 1 && causes.join() === "connect_failure";
  if (retry.attempts === 0) lines.push("no retry");
  else if (!isPlain) {
    lines.push(
      `retry ${retry.attempts} on ${causes.join(", ")}` +
        (retry.perTryTimeout === null ? "" : `, ${ms(retry.perTryTimeout)} each`) +
        (retry.nonIdempotent ? ", non-idempotent methods too" : ""),
    );
  }
  if (hedge !== null) lines.push(`hedge after ${ms(hedge.after)}`);
  for (const { upstream, share } of mirrors) {
    lines.push(`mirror ${share === 1 ? "" : `${formatPercent(share)} `}to ${upstream}`);
  }
  const times = Object.entries(timeouts).filter(([, value]) => value !== null);
  if (times.length > 0) {
    const words = times.map(([name, value]) =>
      `${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)} ${ms(value as number)}`
    );
    lines.push(`timeouts: ${words.join(", ")}`);
  }
  return lines;
}

function policyText({ balancing }: UpstreamConfig): string {
  const { policy, hashKey, subset, panicThreshold, slowStart } = balancing;
  const parts: string[] = [policy];
  if (hashKey !== null) parts[0] += ` by ${hashKeyText(hashKey)}`;
  if (subset !== null) parts.push(`prefers ${labelsText(subset)}`);
  if (slowStart !== null) parts.push(`slow start ${ms(slowStart.window)}`);
  parts.push(panicThreshold === 0 ? "no panic" : `panic under ${formatPercent(panicThreshold)}`);
  return parts.join(", ");
}

function tiers(endpoints: readonly EndpointConfig[]): [number, EndpointConfig[]][] {
  const found = new Map<number, EndpointConfig[]>();
  for (const endpoint of endpoints) {
    const members = found.get(endpoint.priority);
    if (members === undefined) found.set(endpoint.priority, [endpoint]);
    else members.push(endpoint);
  }
  return [...found].sort(([a], [b]) => a - b);
}

function endpointText({ address, weight, labels }: EndpointConfig): string {
  const notes: string[] = [];
  if (weight === 0) notes.push("drained");
  else if (weight !== 1) notes.push(`weight ${weight}`);
  if (Object.keys(labels).length > 0) notes.push(labelsText(labels));
  return formatAddress(address) + (notes.length === 0 ? "" : ` (${notes.join(", ")})`);
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(" ");
}

function sourceText(source: Source): string {
  switch (source.type) {
    case "dns":
      return `dns ${source.name} port ${source.port}`;
    case "srv":
      return `srv ${source.name}`;
    case "file":
      return `file ${source.path}`;
    case "http": {
      // A query may hold a secret.
      const { origin, pathname } = new URL(source.url);
      return `http ${origin}${pathname} every ${ms(source.interval)}`;
    }
    case "plugin":
      return `plugin ${source.plugin}`;
  }
}

function checkText({ check }: Active): string {
  const at = check.port !== 0 ? ` on port ${check.port}` : "";
  if (check.type === "grpc") {
    return `grpc health of ${check.service === "" ? "the server" : check.service}${at}`;
  }
  return check.type === "http"
    ? `http ${check.method} ${withoutCredentials(check.path)}${at}, expects ${
      statusTexts(check.status).join(", ")
    }${check.body === null ? "" : " and a text"}`
    : `${check.type}${at}`;
}

function activeText(active: Active): string {
  const { interval, timeout, healthy, unhealthy, initial } = active.settings;
  return `${checkText(active)}; every ${ms(interval)}, within ${
    ms(timeout)
  }; ${unhealthy} failures down, ${healthy} passes up${
    initial === "unhealthy" ? "; down until checked" : ""
  }`;
}

function passiveText(passive: Passive): string {
  const causes: string[] = [];
  if (passive.failures > 0) causes.push(`${count(passive.failures, "failure")} in a row`);
  if (passive.errors !== null) {
    causes.push(`${formatPercent(passive.errors.ratio)} failures in ${ms(passive.window)}`);
  }
  if (passive.latency !== null) {
    causes.push(`${passive.latency.factor} times the median answer time`);
  }
  return `after ${causes.join(" or ")}; for ${ms(passive.ejection)} up to ${
    ms(passive.maxEjection)
  }; at most ${formatPercent(passive.maxEjected)} of the endpoints`;
}

function breakerText(breaker: NonNullable<UpstreamConfig["breaker"]>): string {
  const parts: string[] = [];
  if (breaker.maxRequests > 0) parts.push(`${count(breaker.maxRequests, "request")} at a time`);
  if (breaker.maxPending > 0) parts.push(`${breaker.maxPending} waiting`);
  const opens: string[] = [];
  if (breaker.errorRatio > 0) {
    opens.push(
      `${formatPercent(breaker.errorRatio)} of ${breaker.minVolume} or more requests in ${
        ms(breaker.window)
      } fail`,
    );
  }
  if (breaker.consecutiveFailures > 0) {
    opens.push(`${count(breaker.consecutiveFailures, "failure")} in a row`);
  }
  if (opens.length > 0) {
    parts.push(
      `opens when ${opens.join(", or after ")}, for ${ms(breaker.openTime)} up to ${
        ms(breaker.maxOpenTime)
      }`,
    );
  }
  return parts.join("; ");
}

function transportRows({ tls, options }: UpstreamConfig): string[][] {
  const rows: string[][] = [];
  if (tls !== null) {
    rows.push([
      "tls",
      [
        tls.serverName === "" ? "name of each endpoint" : `name ${tls.serverName}`,
        !tls.verify ? "NOT VERIFIED" : tls.verifyHostname ? "verified" : "host name NOT VERIFIED",
        ...(tls.clientCertificate === null ? [] : ["client certificate"]),
        `${tls.minVersion ?? "TLSv1.2"} to ${tls.maxVersion ?? "TLSv1.3"}`,
      ].join(", "),
    ]);
  }
  if (options.protocol !== "h1") rows.push(["protocol", protocolText(options, tls !== null)]);
  const parts: string[] = [];
  if (options.proxy !== null) parts.push(`through proxy ${formatAddress(options.proxy.address)}`);
  if (options.proxyProtocol !== null) parts.push(`PROXY protocol ${options.proxyProtocol}`);
  if (options.maxConnections > 0) {
    parts.push(`${count(options.maxConnections, "connection")} per endpoint and worker`);
  }
  if (options.prewarm > 0) parts.push(`${options.prewarm} kept ready`);
  if (options.maxAge > 0) parts.push(`used for ${ms(options.maxAge)}`);
  if (options.maxRequests > 0) parts.push(`${count(options.maxRequests, "request")} each`);
  if (parts.length > 0) rows.push(["connections", parts.join(", ")]);
  return rows;
}

function protocolText({ protocol, http2 }: UpstreamConfig["options"], encrypted: boolean): string {
  if (protocol === "auto" && !encrypted) return "HTTP/1.1, because there is no TLS";
  const parts = [
    protocol === "auto"
      ? "HTTP/2 or HTTP/1.1, as the endpoint prefers"
      : protocol === "h2"
      ? "HTTP/2"
      : "HTTP/2 in clear text",
    `${count(http2.maxStreams, "request")} at a time on a connection`,
  ];
  if (http2.pingInterval > 0) parts.push(`PING after ${ms(http2.pingInterval)} of silence`);
  return parts.join(", ");
}

function statusTexts(statuses: Statuses): string[] {
  return statuses.map(({ from, to }) =>
    from === to
      ? String(from)
      : from % 100 === 0 && to === from + 99
      ? `${from / 100}xx`
      : `${from}-${to}`
  );
}
