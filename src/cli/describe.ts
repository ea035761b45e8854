/**
 * A config and its plugins in words.
 *
 * @module
 */
import { outsideTexts } from "../config/outside.ts";
import { shownFields } from "../config/shown.ts";
import type { Config, RouteConfig } from "../config/types.ts";
import { alternatives } from "../http/matcher.ts";
import type { Match, Permissions } from "../plugin/plugin.ts";
import { formatAddress } from "../transport/address.ts";
import { identityText } from "../config/accounts.ts";
import { formatDuration, formatPercent } from "../config/units.ts";
import { describeListeners } from "./describe_listener.ts";
import { addressesText, attemptsText, describeUpstream, hashKeyText } from "./describe_upstream.ts";
import { count, table } from "./output.ts";
import type { PluginReport } from "./program.ts";

const RIGHTS = ["net", "read", "write", "env", "sys"] as const;

/**
 * A match in one line.
 *
 * @param config Where it stands: what came from outside into it is not shown.
 */
export function matchText(match: Match, config: Config): string {
  const parts: string[] = [];
  const method = alternatives(match.method);
  const host = alternatives(match.host);
  const path = alternatives(match.path);
  if (method.length > 0) parts.push(method.join("|"));
  if (host.length > 0) parts.push(`host ${host.join("|")}`);
  if (path.length > 0) parts.push(path.join("|"));
  for (
    const [name, value] of Object.entries(shownFields(match.header ?? {}, outsideTexts(config)))
  ) {
    parts.push(
      value === true ? `with ${name}` : value === false ? `without ${name}` : `${name}: ${value}`,
    );
  }
  return parts.length === 0 ? "everything" : parts.join(", ");
}

/** Rights in one line. */
export function rightsText(rights: Permissions): string {
  const parts: string[] = [];
  for (const kind of RIGHTS) {
    const value = rights[kind];
    if (value === undefined || value === false) continue;
    if (value === true) parts.push(`${kind}: any`);
    else if (value.length > 0) parts.push(`${kind}: ${value.join(" ")}`);
  }
  return parts.length === 0 ? "nothing" : parts.join("; ");
}

/** Where a route leads. */
export function targetText(config: Config, route: RouteConfig): string {
  if (route.split !== null) {
    const { parts, hashKey } = route.split;
    const total = parts.reduce((sum, { weight }) => sum + weight, 0);
    const shares = parts.map(({ group, weight }) => `${group} ${formatPercent(weight / total)}`);
    return `split: ${shares.join(", ")}${hashKey === null ? "" : ` by ${hashKeyText(hashKey)}`}`;
  }
  if (route.upstream === null) return "plugins and rules";
  const upstream = config.upstreams.find((one) => one.name === route.upstream)!;
  return `${route.upstream} (${upstream.tls === null ? "" : "TLS "}${addressesText(upstream)})`;
}

/** Listeners, routes, upstreams and plugins, for `check`. */
export function describeConfig(config: Config, reports: readonly PluginReport[]): string {
  let text = describeProcess(config);
  text += "Listeners\n";
  text += table(
    config.listeners.map((one) => [
      one.name,
      formatAddress(one.address),
      `service ${config.services.find((s) => s.listeners.includes(one.name))?.name ?? "-"}`,
      ...(one.engine === "deno" ? [] : [`engine ${one.engine}`]),
    ]),
    "  ",
  );
  text += describeListeners(config, reports);
  for (const service of config.services) {
    text += `\nRoutes of service ${service.name} (${count(service.threads, "thread")})\n`;
    text += table(
      service.routes.map((route) => [
        route.id,
        matchText(route.match, config),
        targetText(config, route),
        [modulesText(route), pluginsText(config, route), ...attemptsText(route)]
          .filter((one) => one !== "").join("; "),
      ]),
      "  ",
    );
  }
  for (const upstream of config.upstreams) text += describeUpstream(upstream);
  if (reports.length > 0) text += `\nPlugins\n${reports.map(reportText).join("")}`;
  return text;
}

/** Who the program becomes, and how it is found again; nothing if it stays who and where it is. */
function describeProcess({ server }: Config): string {
  const { identity, daemon, pidFile } = server;
  if (identity === null && !daemon) return "";
  const rows = [
    ...(identity === null ? [] : [["user", `${identityText(identity)}, once ports are bound`]]),
    ...(daemon
      ? [["daemon", `serves within ${formatDuration(server.daemonReadyTimeout)}, or is ended`]]
      : []),
    ...(pidFile === null ? [] : [["pid file", pidFile.path]]),
  ];
  return `Process\n${table(rows, "  ")}\n`;
}

function modulesText({ modules }: RouteConfig): string {
  return modules.length === 0 ? "" : `modules: ${modules.join(", ")}`;
}

function pluginsText(config: Config, route: RouteConfig): string {
  if (route.plugins.length === 0) return "";
  return `plugins: ${route.plugins.map((use) => config.plugins[use.plugin]!.name).join(", ")}`;
}

/** One plugin: phases, what it asked for and what it got. */
export function reportText(report: PluginReport): string {
  const version = report.version === "" ? "" : ` ${report.version}`;
  return `  ${report.name}${version}\n` + table([
    ["file", report.file],
    ["isolation", report.isolation],
    ["phases", report.phases.length === 0 ? "none" : report.phases.join(", ")],
    ["asks for", rightsText(report.asked)],
    ["granted", rightsText(report.granted)],
  ], "    ");
}
