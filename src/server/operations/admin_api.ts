/**
 * The admin interface: what operators can see and do, as JSON over HTTP.
 *
 * @module
 */
import { shownConfig } from "../../config/shown.ts";
import type { AdminConfig, Config, LogLevel } from "../../config/types.ts";
import type { ActionResult, AdminActions } from "./admin_actions.ts";
import { refuseStranger } from "./admin_guard.ts";
import {
  type EndpointAnswer,
  type EndpointRequest,
  json,
  notAllowed,
  problem,
} from "./http_endpoint.ts";
import { type MemberSubject, setMember } from "./member_change.ts";
import type { PluginStatus } from "./plugin_records.ts";
import { answerMetrics, answerProbe, isRead, type ProgramState } from "./probes.ts";
import type { ProgramMetrics } from "./program_metrics.ts";
import type { ProgramStatus } from "./program_status.ts";
import { readJson } from "./read_json.ts";

/** What the interface shows and works on. */
export interface AdminSubject extends MemberSubject {
  readonly admin: AdminConfig;
  readonly actions: AdminActions;
  readonly metrics: ProgramMetrics;
  state(): ProgramState;
  config(): Config;
  status(): ProgramStatus;
  plugins(): readonly PluginStatus[];
  /** @throws {Error} Why it cannot be started again; the old one then goes on. */
  restartPlugin(name: string): Promise<void>;
  logLevel(): LogLevel;
  setLogLevel(level: LogLevel): void;
}

/** The levels of the operational log. */
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warning", "error"];

type Handler = (
  request: EndpointRequest,
  subject: AdminSubject,
  names: readonly string[],
) => EndpointAnswer | Promise<EndpointAnswer>;

/** What there is: path, methods and what answers. `*` is any one segment. */
const ROUTES: readonly (readonly [path: string, methods: Readonly<Record<string, Handler>>])[] = [
  ["/status", { GET: (_, subject) => json(subject.status()) }],
  ["/config", { GET: (_, subject) => json(shownConfig(subject.config())) }],
  ["/metrics", { GET: metricsOf }],
  ["/upstreams", {
    GET: async (_, subject) => json({ upstreams: await subject.upstreams() }),
  }],
  ["/upstreams/*", { GET: oneUpstream }],
  ["/upstreams/*/endpoints/*", { PATCH: setMember }],
  ["/plugins", { GET: (_, subject) => json({ plugins: subject.plugins() }) }],
  ["/plugins/*/restart", { POST: restartPlugin }],
  ["/log-level", {
    GET: (_, subject) => json({ level: subject.logLevel() }),
    PUT: setLogLevel,
  }],
  ["/drain", { POST: drain }],
  ["/config/changes", { GET: (_, { actions }) => act(actions.changes, "comparison") }],
  ["/reload", { POST: reload }],
  ["/upgrade", { POST: (_, { actions }) => act(actions.upgrade, "upgrade") }],
];

/** Answers a request to the admin interface. */
export async function answerAdmin(
  request: EndpointRequest,
  subject: AdminSubject,
): Promise<EndpointAnswer> {
  const stranger = refuseStranger(request, subject.admin);
  if (stranger !== null) return stranger;
  const probe = answerProbe(request, subject.state());
  if (probe !== null) return probe;
  for (const [pattern, methods] of ROUTES) {
    const names = matchPath(pattern, request.path);
    if (names === null) continue;
    const method = isRead(request) ? "GET" : request.method;
    const handler = Object.hasOwn(methods, method) ? methods[method] : undefined;
    if (handler === undefined) {
      return notAllowed(Object.keys(methods).flatMap((one) => one === "GET" ? [one, "HEAD"] : one));
    }
    return await handler(request, subject, names);
  }
  const paths = ROUTES.map(([path]) => path).join(", ");
  return problem(404, "not_found", `There are /livez, /readyz, ${paths}.`);
}

/** The segments that stand for `*`, or `null` if the path is another one. */
function matchPath(pattern: string, path: string): string[] | null {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  if (wanted.length !== given.length) return null;
  const names: string[] = [];
  for (const [i, segment] of wanted.entries()) {
    if (segment !== "*") {
      if (segment !== given[i]) return null;
      continue;
    }
    try {
      names.push(decodeURIComponent(given[i]!));
    } catch {
      return null;
    }
  }
  return names;
}

function metricsOf(request: EndpointRequest, subject: AdminSubject): EndpointAnswer {
  if (subject.config().metrics !== null) return answerMetrics(request, subject.metrics);
  return problem(
    404,
    "metrics_off",
    "Nothing is counted: add `metrics: {}` under `telemetry` in the config.",
  );
}

async function oneUpstream(
  _: EndpointRequest,
  subject: AdminSubject,
  [name]: readonly string[],
): Promise<EndpointAnswer> {
  const found = (await subject.upstreams()).find((one) => one.name === name);
  return found === undefined
    ? problem(404, "no_such_upstream", `There is no upstream ${JSON.stringify(name)}.`)
    : json(found);
}

async function restartPlugin(
  _: EndpointRequest,
  subject: AdminSubject,
  [name]: readonly string[],
): Promise<EndpointAnswer> {
  const find = () => subject.plugins().find((one) => one.name === name);
  if (find() === undefined) {
    return problem(404, "no_such_plugin", `There is no plugin ${JSON.stringify(name)}.`);
  }
  try {
    await subject.restartPlugin(name!);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return problem(422, "plugin_not_restarted", `It goes on as it was: ${why}`);
  }
  return json(find());
}

function setLogLevel(request: EndpointRequest, subject: AdminSubject): EndpointAnswer {
  const data = readJson(request);
  if (!(data instanceof Map)) return data;
  const level = data.get("level");
  const known = LOG_LEVELS.find((one) => one === level);
  if (known === undefined || data.size > 1) {
    return problem(422, "invalid_level", `Send {"level": …} with one of ${LOG_LEVELS.join(", ")}.`);
  }
  subject.setLogLevel(known);
  return json({ level: known });
}

function drain(_: EndpointRequest, subject: AdminSubject): EndpointAnswer {
  subject.actions.drain("an operator asked to");
  return json({ state: "draining" }, 202);
}

async function reload(
  { query }: EndpointRequest,
  { actions }: AdminSubject,
): Promise<EndpointAnswer> {
  if (query !== "wait=false" || actions.reload === null) return await act(actions.reload, "reload");
  // What becomes of it stands in the log, and in the metrics.
  void actions.reload();
  return json({ message: "The program has been told to reload." }, 202);
}

async function act(
  action: (() => Promise<ActionResult>) | null,
  name: string,
): Promise<EndpointAnswer> {
  if (action === null) {
    return problem(
      501,
      "not_implemented",
      `This program cannot ${name} while it runs: restart it.`,
    );
  }
  const { ok, message, details } = await action();
  return ok ? json({ message, ...details }) : problem(409, `${name}_failed`, message, details);
}
