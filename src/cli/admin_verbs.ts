/**
 * The verbs that ask a running program: `status`, `upstreams`, `plugin restart`, `log-level`, `metrics`, `stop`.
 *
 * @module
 */
import type { ProgramStatus } from "../server/operations/program_status.ts";
import type { MemberView, UpstreamView } from "../server/operations/upstream_view.ts";
import { AdminClient, type AdminFlags } from "./admin_client.ts";
import { CliExit, EXIT, type Output, table } from "./output.ts";

/** Flags of the verbs that show something. */
export interface ShowFlags extends AdminFlags {
  readonly json: boolean;
}

/** `status`. */
export async function showStatus(flags: ShowFlags, output: Output): Promise<void> {
  const status = await AdminClient.find(flags).json<ProgramStatus>("GET", "/status");
  output.out(flags.json ? `${JSON.stringify(status, null, 2)}\n` : statusText(status));
}

function statusText(status: ProgramStatus): string {
  const { config } = status;
  const loaded = config.last_load_successful ? "" : ", the last reload failed";
  return table([
    ["state", status.state],
    ["version", `${status.version} (Deno ${status.deno})`],
    ["process", `${status.pid}, since ${status.started_at}`],
    ["config", `generation ${config.generation}, loaded ${config.last_success_at}${loaded}`],
    ...status.listeners.map(({ name, address }) => [`listener ${name}`, address]),
    ...status.workers.map((worker) => [
      `worker ${worker.id}`,
      [
        worker.state,
        `${worker.restarts} restarts`,
        ...(worker.heartbeat_age_seconds === null
          ? []
          : [`heard of ${worker.heartbeat_age_seconds.toFixed(1)} s ago`]),
        ...(worker.connections === null
          ? []
          : [`${worker.connections} connections`, `${worker.requests} requests`]),
        ...((worker.retired_editions ?? 0) > 0
          ? [`${worker.retired_editions} older configs in use`]
          : []),
      ].join(", "),
    ]),
    ...status.plugins.map(({ name, state }) => [`plugin ${name}`, state]),
  ]);
}

/** `upstreams list`. */
export async function listUpstreams(flags: ShowFlags, output: Output): Promise<void> {
  const answer = await AdminClient.find(flags).json<{ upstreams: UpstreamView[] }>(
    "GET",
    "/upstreams",
  );
  if (flags.json) output.out(`${JSON.stringify(answer, null, 2)}\n`);
  else output.out(answer.upstreams.map(upstreamText).join("\n"));
}

function upstreamText(upstream: UpstreamView): string {
  const notes = [
    upstream.policy,
    ...(upstream.discovery === null
      ? []
      : [`${upstream.discovery.type} discovery${upstream.discovery.working ? "" : " fails"}`]),
    ...(upstream.panic ? ["health is ignored"] : []),
    ...Object.entries(upstream.breaker ?? {}).filter(([state]) => state !== "closed")
      .map(([state, count]) => `${count} circuit breakers ${state.replace("_", " ")}`),
  ];
  const head = `${upstream.name} (${notes.join(", ")})\n`;
  if (upstream.endpoints.length === 0) return `${head}  no endpoints\n`;
  return head + table([
    ["ENDPOINT", "STATE", "WEIGHT", "IN FLIGHT", "REQUESTS", "FAILURES", "CONNECTIONS"],
    ...upstream.endpoints.map(memberRow),
  ], "  ");
}

function memberRow(member: MemberView): string[] {
  const { weight, configured_weight, connections } = member;
  return [
    member.id,
    member.state,
    weight === configured_weight ? String(weight) : `${weight} (config: ${configured_weight})`,
    String(member.in_flight),
    String(member.requests),
    String(member.failures),
    `${connections.active} active, ${connections.idle} idle`,
  ];
}

/** `upstreams enable`, `disable` and `weight`. */
export async function changeMember(
  [upstream, endpoint]: readonly [upstream: string, endpoint: string],
  change: { readonly enabled: boolean } | { readonly weight: number | null },
  flags: AdminFlags,
  output: Output,
): Promise<void> {
  const path = `/upstreams/${encodeURIComponent(upstream)}/endpoints/${
    encodeURIComponent(endpoint)
  }`;
  const member = await AdminClient.find(flags).json<MemberView>("PATCH", path, change);
  output.out(`${member.id} is ${member.state}, weight ${member.weight}\n`);
}

/** What `upstreams weight` was given. */
export function readWeight(text: string): number | null {
  if (text === "config") return null;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new CliExit(
    EXIT.usage,
    `error: the weight ${text} is none: give a whole number from 0 to 65535, or "config"\n`,
  );
}

/** `plugin restart`. */
export async function restartPlugin(
  name: string,
  flags: AdminFlags,
  output: Output,
): Promise<void> {
  const path = `/plugins/${encodeURIComponent(name)}/restart`;
  const { state } = await AdminClient.find(flags).json<{ state: string }>("POST", path);
  output.out(`plugin ${name} was started again and is ${state}\n`);
}

/** `log-level`. */
export async function logLevel(
  level: string | undefined,
  flags: AdminFlags,
  output: Output,
): Promise<void> {
  const client = AdminClient.find(flags);
  const answer = level === undefined
    ? await client.json<{ level: string }>("GET", "/log-level")
    : await client.json<{ level: string }>("PUT", "/log-level", { level });
  output.out(`${answer.level}\n`);
}

/** `metrics`. */
export async function showMetrics(flags: AdminFlags, output: Output): Promise<void> {
  output.out(await AdminClient.find(flags).text("GET", "/metrics"));
}

/** Milliseconds between two looks at whether the program is still there. */
const LOOK = 100;

/** `stop`: has it drain; with `wait`, returns when it has ended. */
export async function stop(flags: AdminFlags & { readonly wait: boolean }, output: Output) {
  const client = AdminClient.find(flags);
  await client.json("POST", "/drain");
  if (!flags.wait) return output.out("draining\n");
  for (;;) {
    try {
      await client.send("GET", "/livez");
    } catch {
      return output.out("stopped\n");
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}
