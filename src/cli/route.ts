/**
 * `route`: which route a request takes, and why.
 *
 * @module
 */
import type { Config, RouteConfig, ServiceConfig } from "../config/types.ts";
import { Fields } from "../http/fields.ts";
import { compileMatch, type HeadMatch, normalPath } from "../http/matcher.ts";
import { checkTarget, RequestHead } from "../http/message.ts";
import { compileRoutes } from "../proxy/router.ts";
import { formatAddress } from "../transport/address.ts";
import { matchText, targetText } from "./describe.ts";
import { attemptsText } from "./describe_upstream.ts";
import { CliExit, EXIT, type Output, table } from "./output.ts";

/** What is asked for. */
export interface RouteQuestion {
  /** `http://host:port/path?query`, or a path alone. */
  readonly url: string;
  readonly method: string;
  /** `name: value` lines. */
  readonly headers: readonly string[];
}

/** Prints, for each service, the route that is taken and why the ones before it are not. */
export function explainRoute(config: Config, question: RouteQuestion, output: Output): void {
  const head = headOf(question);
  const port = portOf(question.url);
  const services = servicesOf(config, port);
  let matched = false;
  for (const service of services) {
    const index = compileRoutes(service.routes)(head);
    output.out(explainService(config, service, head, index));
    if (index >= 0) matched = true;
  }
  if (!matched) throw new CliExit(EXIT.runtime);
}

function headOf(question: RouteQuestion): RequestHead {
  const match = /^(?:[a-z]+:\/\/([^/?#]*))?([/?][^#]*)?$/i.exec(question.url);
  if (match === null) {
    throw new CliExit(
      EXIT.usage,
      `error: ${JSON.stringify(question.url)} is neither a URL nor a path\n`,
    );
  }
  const rest = match[2] ?? "/";
  const target = rest.startsWith("/") ? rest : `/${rest}`;
  try {
    checkTarget(target);
    const fields = Fields.from(question.headers.map((line) => {
      const colon = line.indexOf(":");
      if (colon < 1) throw new TypeError(`${JSON.stringify(line)} is not of the form name: value`);
      return [line.slice(0, colon), line.slice(colon + 1)] as const;
    }));
    const authority = match[1] ?? fields.get("host") ?? "";
    return new RequestHead({ method: question.method, version: 11, fields, target, authority });
  } catch (error) {
    throw new CliExit(
      EXIT.usage,
      `error: ${error instanceof Error ? error.message : String(error)}\n`,
    );
  }
}

function portOf(url: string): number | null {
  const match = /^[a-z]+:\/\/[^/?#]*:(\d+)(?:[/?#]|$)/i.exec(url);
  return match === null ? null : Number(match[1]);
}

/** The services on the port of the URL; all, when the URL has none or nothing listens there. */
function servicesOf(config: Config, port: number | null): readonly ServiceConfig[] {
  if (port === null) return config.services;
  const names = config.listeners.filter((one) =>
    one.address.kind === "tcp" && one.address.port === port
  ).map((one) => one.name);
  const found = config.services.filter((one) => one.listeners.some((name) => names.includes(name)));
  return found.length > 0 ? found : config.services;
}

function explainService(
  config: Config,
  service: ServiceConfig,
  head: RequestHead,
  index: number,
): string {
  const listeners = config.listeners.filter((one) => service.listeners.includes(one.name));
  let text = `service ${service.name} on ${
    listeners.map((one) => formatAddress(one.address)).join(", ")
  }\n`;
  const tried = service.routes.slice(0, index < 0 ? undefined : index + 1);
  text += table(
    tried.map((route, i) => [
      i === index ? "->" : "",
      route.id,
      matchText(route.match, config),
      i === index ? "matches" : `no: ${reasons(route, head).join(", ")}`,
    ]),
    "  ",
  );
  if (index < 0) return `${text}  no route matches: the answer is 404\n`;
  const route = service.routes[index]!;
  text += table([
    ["upstream", targetText(config, route)],
    ["plugins", pluginsText(config, route, head)],
    ...attemptsText(route).map((line) => ["", line]),
    ...(route.rules.length === 0 ? [] : [["rules", rulesText(route, head)]]),
  ], "     ");
  const normal = normalPath(head.path);
  if (normal !== head.path) text += `     the path was compared as ${normal}\n`;
  return text;
}

/** The parts of a match that do not hold. */
function reasons(route: RouteConfig, head: RequestHead): string[] {
  const parts = ["method", "host", "path", "header"] as const;
  return parts.filter((part) => {
    const value = route.match[part];
    if (value === undefined) return false;
    return compileMatch({ [part]: value } as HeadMatch)?.(head) === false;
  });
}

function pluginsText(config: Config, route: RouteConfig, head: RequestHead): string {
  if (route.plugins.length === 0) return "none";
  return route.plugins.map((use) => {
    const name = config.plugins[use.plugin]!.name;
    const test = use.when === null ? null : compileMatch(use.when);
    return test === null || test(head) ? name : `${name} (not for this request)`;
  }).join(", ");
}

function rulesText(route: RouteConfig, head: RequestHead): string {
  return route.rules.map((rule, i) => {
    const test = compileMatch(rule.match);
    if (test !== null && !test(head)) return `${i} (not for this request)`;
    return rule.respond === null ? String(i) : `${i} answers ${rule.respond.status}`;
  }).join(", ");
}
