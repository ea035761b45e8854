/**
 * What operators do to a program that is under load, and what happens to it: reloads, upgrades, workers that end,
 * plugins that crash.
 *
 * @module
 */
import { join } from "node:path";
import type { SocketEngine } from "../../src/transport/socket.ts";
import { eventually } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { Authority } from "../support/authority.ts";
import { isAlive, type Successor, upgrade } from "../support/handover.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { reload, writeConfig, writePlugin } from "../support/reload.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { underLoad } from "./generators.ts";
import { Load, type Loss, WORKER_FIELD } from "./load.ts";

/** How often each is done. */
export interface SoakPlan {
  readonly reloads: number;
  readonly upgrades: number;
  readonly kills: number;
  readonly crashes: number;
  /** Of the listener for clear text. Default `deno`. */
  readonly engine?: SocketEngine;
  /** Whether wrk and h2load run during each step, but for those in which a worker is ended. Default `false`. */
  readonly generators?: boolean;
  /** Told of each step. */
  readonly say?: (text: string) => void;
}

/** What the end of a service worker has cost. */
export interface KillCost {
  /** What the worker had with its last word, whoever ended it left out. */
  readonly connections: number;
  readonly requests: number;
  /** What clients lost on its connections, and of that what was not on an idle one. */
  readonly lost: number;
  readonly running: number;
}

/** What it came to. */
export interface SoakResult {
  readonly load: Load;
  /** What went wrong and should not have. */
  readonly failures: readonly string[];
  readonly kills: readonly KillCost[];
  /** Requests of the load generators. */
  readonly generated: number;
  readonly stderr: string;
}

const FRAGILE = (version: number) =>
  `import { definePlugin } from "@sluice/plugin";
// ${version}
export default definePlugin({
  requestFilter(session) {
    if (session.request.path === "/crash") setTimeout(() => { throw new Error("boom"); }, 1);
    return session.respond(200, "${version}");
  },
});
`;
/** Names the service worker that it runs in, and ends it. */
const END = `import { definePlugin } from "@sluice/plugin";
const id = crypto.randomUUID();
export default definePlugin({
  requestFilter(session) {
    if (session.request.path === "/who") return session.respond(200, id);
    if (session.request.path === "/end") self.close();
  },
  responseFilter(session) { session.response.headers.set("${WORKER_FIELD}", id); },
});
`;
const TOUCH = (version: number) =>
  `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  responseFilter(session) { session.response.headers.set("X-Version", "${version}"); },
});
`;

/** Runs the plan, one step after the other, while clients of all kinds ask. */
export async function soak(plan: SoakPlan): Promise<SoakResult> {
  const { say = () => {} } = plan;
  await using origin = await startSimpleOrigin();
  await using other = await startSimpleOrigin();
  using authority = new Authority();
  const signed = authority.sign("127.0.0.1");
  const files = { "cert.pem": signed.cert, "key.pem": signed.key };
  const config = (version: number) => (directory: string) =>
    soakConfig(directory, [origin, other], version, plan.engine ?? "deno");
  await using sluice = await startSluice({
    config: config(0),
    files,
    plugins: { "fragile.ts": FRAGILE(0), "end.ts": END, "touch.ts": TOUCH(0) },
    threads: 2,
    args: ["--access-log", "off"],
  });
  const port = sluice.port("web");
  const admin = join(sluice.directory, "admin.sock");
  const target = { port, tlsPort: sluice.port("tls"), ca: authority.ca, admin };
  await using load = new Load(target);
  let generated = 0;
  let both = hasBoth(0);
  const failures: string[] = [];
  const kills: KillCost[] = [];
  await eventually(() => load.answered > 20, "the first answers", 20_000);
  let serving = sluice.pid;
  let successor: Successor | null = null;
  try {
    for (const [kind, i] of interleave(plan)) {
      say(`${kind} ${i}`);
      const before = load.answered;
      const burst = async (seconds: number, http2: boolean, work: () => Promise<void>) => {
        if (plan.generators !== true) return await work();
        const { requests, trouble } = await underLoad(target, seconds, http2, work);
        generated += requests;
        failures.push(...trouble.map((one) => `${kind} ${i}: ${one}`));
      };
      // Another address is another right: other workers take over, and clients of HTTP/2 are told to leave.
      const staying = hasBoth(i) === both;
      if (kind === "reload") {
        if (i % 2 === 0) writePlugin(sluice, "touch.ts", TOUCH(i));
        both = hasBoth(i);
        await burst(1, staying, () => reloadOf(sluice, serving, config(i)(sluice.directory)));
      } else if (kind === "upgrade") {
        let next: Successor | undefined;
        await burst(4, false, async () => {
          next = await upgrade(sluice, serving);
        });
        // What clients of WebSockets do when their server goes away one day.
        load.moveSockets();
        const old = serving;
        await eventually(() => !isAlive(old), `the end of process ${old}`, 60_000);
        await successor?.[Symbol.asyncDispose]();
        successor = next!;
        serving = successor.pid;
      } else if (kind === "kill") {
        const { cost, others } = await killWorker(sluice, port, load);
        say(JSON.stringify(cost));
        kills.push(cost);
        failures.push(...others);
      } else {
        // A plugin that crashes often is left alone; a changed one begins anew.
        writePlugin(sluice, "fragile.ts", FRAGILE(i));
        both = hasBoth(i);
        await burst(1, staying, async () => {
          await reloadOf(sluice, serving, config(i)(sluice.directory));
          await rawRequest(port, get("/crash"));
          await eventually(
            async () => text(await rawRequest(port, get("/fragile"))) === String(i),
            "the plugin to run again",
            20_000,
          );
        });
      }
      await eventually(() => load.answered > before + 20, "answers after it", 20_000);
      failures.push(...load.takeLosses().map((loss) => `after ${kind} ${i}: ${loss.text}`));
      if (failures.length > 0) break;
    }
    await load.stop();
    failures.push(...load.takeLosses().map((loss) => `at the end: ${loss.text}`));
    return { load, failures, kills, generated, stderr: sluice.stderr() };
  } finally {
    await successor?.[Symbol.asyncDispose]();
  }
}

/** All steps, each kind spread over the whole. */
function interleave(plan: SoakPlan): [kind: "reload" | "upgrade" | "kill" | "crash", i: number][] {
  const kinds = [
    ["reload", plan.reloads],
    ["upgrade", plan.upgrades],
    ["kill", plan.kills],
    ["crash", plan.crashes],
  ] as const;
  return kinds
    .flatMap(([kind, most]) =>
      Array.from({ length: most }, (_, i) => ({ kind, i: i + 1, at: (i + 0.5) / most }))
    )
    .sort((a, b) => a.at - b.at)
    .map(({ kind, i }) => [kind, i]);
}

/** As `reload`, of whichever process serves now. */
async function reloadOf(sluice: Sluice, pid: number, config: string): Promise<void> {
  if (pid === sluice.pid) {
    if (!await reload(sluice, config)) throw new Error(`refused:\n${sluice.stderr()}`);
    return;
  }
  const over = /server: (Reloaded|The new config is refused)/g;
  const before = [...sluice.stderr().matchAll(over)].length;
  writeConfig(sluice, config);
  Deno.kill(pid, "SIGHUP");
  await eventually(
    () => [...sluice.stderr().matchAll(over)].length > before,
    `the end of the reload:\n${sluice.stderr()}`,
    60_000,
  );
}

/** Milliseconds in which a client of HTTP/2 notices that an idle connection was closed. */
const NOTICED = 200;
/** Connections that a worker may have taken without having said so: one for each listener. */
const TAKEN_UNSAID = 2;

/**
 * Ends a service worker, waits for the next, and judges what clients have lost meanwhile.
 *
 * What ran on the connections of the worker goes with it, and what was idle there ends. Whatever else is lost is lost
 * without need: what others had, and connections that were opened when it had ended.
 */
async function killWorker(
  sluice: Sluice,
  port: number,
  load: Load,
): Promise<{ cost: KillCost; others: string[] }> {
  const served = /Worker \d of service main serves again/g;
  const last = /died: it ended itself; .* connections=(\d+) requests=(\d+)/g;
  const before = [...sluice.stderr().matchAll(served)].length;
  const deaths = [...sluice.stderr().matchAll(last)].length;
  const begun = load.takeLosses().map(({ text }) => `before the end of a worker: ${text}`);
  await using client = await RawClient.connect(port);
  const victim = text(await client.request(get("/who")));
  // It has no answer: the worker ends while it has it.
  await client.send(get("/end"));
  await client.whenEnded(30_000);
  const diedAt = performance.now();
  await eventually(
    () => [...sluice.stderr().matchAll(served)].length > before,
    `the worker to be replaced:\n${sluice.stderr()}`,
    30_000,
  );
  // A client hears of a connection that is gone when it uses it the next time.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const said = [...sluice.stderr().matchAll(last)][deaths];
  if (said === undefined) {
    throw new Error(`The worker did not say what it had:\n${sluice.stderr()}`);
  }
  const connections = Number(said[1]) - 1;
  const requests = Number(said[2]) - 1;
  const losses = load.takeLosses();
  const isHis = ({ worker, openedAt, reused }: Loss) =>
    worker === null ? openedAt <= diedAt + (reused ? NOTICED : 0) : worker === victim;
  const his = losses.filter(isHis);
  const running =
    his.filter(({ worker, openedAt, reused }) => worker === null ? openedAt <= diedAt : !reused)
      .length;
  const others = losses.filter((loss) => !isHis(loss))
    .map((loss) => `lost without need, for worker ${victim} died at ${diedAt}: ${loss.text}`);
  // No client has more than one request at a time on a connection. Those that the worker had not read yet count, too:
  // they were on its connections, though it did not know of them.
  if (his.length > connections + TAKEN_UNSAID) {
    others.push(
      `${his.length} were lost (${running} running) with a worker that had ${connections} connections and ${requests} requests:`,
      ...his.map((loss) => loss.text),
    );
  }
  return {
    cost: { connections, requests, lost: his.length, running },
    others: [...begun, ...others],
  };
}

function hasBoth(version: number): boolean {
  return version % 3 !== 0;
}

/** A config that differs with its version: in rules always, in the addresses of an upstream now and then. */
function soakConfig(
  directory: string,
  origins: readonly SimpleOrigin[],
  version: number,
  engine: SocketEngine,
): string {
  const [first, second] = origins.map(({ address }) => address);
  return JSON.stringify({
    admin: { listen: `unix:${directory}/admin.sock` },
    server: { grace_period: "60s", threads: 2 },
    listeners: [
      { name: "web", address: "127.0.0.1:0", engine },
      {
        name: "tls",
        address: "127.0.0.1:0",
        protocols: ["h1", "h2"],
        tls: { certificates: [{ cert: "cert.pem", key: "key.pem" }] },
      },
    ],
    services: [{
      name: "main",
      routes: [
        { match: { path: ["/fragile", "/crash"] }, plugins: ["fragile"] },
        { match: { path: ["/end", "/who"] }, plugins: ["end"] },
        {
          upstream: "origin",
          plugins: ["touch", "end"],
          rules: [{ response: { set: { "X-Config": String(version) } } }],
        },
      ],
    }],
    upstreams: [{
      name: "origin",
      endpoints: hasBoth(version) ? [first, second] : [first],
    }],
    plugins: {
      directory: "plugins",
      isolation: { end: "inline" },
      trust: ["end"],
    },
  });
}
