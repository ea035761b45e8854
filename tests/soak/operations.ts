/**
 * What operators do to a program that is under load, and what happens to it: reloads, upgrades, workers that end,
 * plugins that crash.
 *
 * @module
 */
import { eventually } from "../support/deadline.ts";
import { Authority } from "../support/authority.ts";
import { isAlive, type Successor, upgrade } from "../support/handover.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { reload, writeConfig, writePlugin } from "../support/reload.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { Load } from "./load.ts";

/** How often each is done. */
export interface SoakPlan {
  readonly reloads: number;
  readonly upgrades: number;
  readonly kills: number;
  readonly crashes: number;
  /** Told of each step. */
  readonly say?: (text: string) => void;
}

/** What it came to. */
export interface SoakResult {
  readonly load: Load;
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
/** Ends the service worker that it runs in. */
const END = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter() { self.close(); },
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
  const config = (version: number) => soakConfig([origin, other], version);
  await using sluice = await startSluice({
    config: config(0),
    files,
    plugins: { "fragile.ts": FRAGILE(0), "end.ts": END, "touch.ts": TOUCH(0) },
    threads: 2,
    args: ["--access-log", "off"],
  });
  const port = sluice.port("web");
  await using load = new Load({ port, tlsPort: sluice.port("tls"), ca: authority.ca });
  await eventually(() => load.answered > 20, "the first answers", 20_000);
  let serving = sluice.pid;
  let successor: Successor | null = null;
  try {
    for (const [kind, i] of interleave(plan)) {
      say(`${kind} ${i}`);
      const before = load.answered;
      if (kind === "reload") {
        if (i % 2 === 0) writePlugin(sluice, "touch.ts", TOUCH(i));
        await reloadOf(sluice, serving, config(i));
      } else if (kind === "upgrade") {
        const next: Successor = await upgrade(sluice, serving);
        // What clients of WebSockets do when their server goes away one day.
        load.moveSockets();
        const old = serving;
        await eventually(() => !isAlive(old), `the end of process ${old}`, 60_000);
        await successor?.[Symbol.asyncDispose]();
        successor = next;
        serving = next.pid;
      } else if (kind === "kill") {
        await load.tolerating(() => killWorker(sluice, port));
      } else {
        // A plugin that crashes often is left alone; a changed one begins anew.
        writePlugin(sluice, "fragile.ts", FRAGILE(i));
        await reloadOf(sluice, serving, config(i));
        await rawRequest(port, get("/crash"));
        await eventually(
          async () => text(await rawRequest(port, get("/fragile"))) === String(i),
          "the plugin to run again",
          20_000,
        );
      }
      await eventually(() => load.answered > before + 20, "answers after it", 20_000);
      if (load.failures.length > 0) break;
    }
    await load.stop();
    return { load, stderr: sluice.stderr() };
  } finally {
    await successor?.[Symbol.asyncDispose]();
  }
}

function text({ body }: { readonly body: Uint8Array }): string {
  return new TextDecoder().decode(body);
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

async function killWorker(sluice: Sluice, port: number): Promise<void> {
  const served = /Worker \d of service main serves again/g;
  const before = [...sluice.stderr().matchAll(served)].length;
  // It has no answer: the worker ends while it has it.
  await rawRequest(port, get("/end")).catch(() => {});
  await eventually(
    () => [...sluice.stderr().matchAll(served)].length > before,
    `the worker to be replaced:\n${sluice.stderr()}`,
    30_000,
  );
}

/** A config that differs with its version: in rules always, in the addresses of an upstream now and then. */
function soakConfig(origins: readonly SimpleOrigin[], version: number): string {
  const [first, second] = origins.map(({ address }) => address);
  return JSON.stringify({
    admin: "off",
    server: { grace_period: "60s", threads: 2 },
    listeners: [
      { name: "web", address: "127.0.0.1:0" },
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
        { match: { path: "/end" }, plugins: ["end"] },
        {
          upstream: "origin",
          plugins: ["touch"],
          rules: [{ response: { set: { "X-Config": String(version) } } }],
        },
      ],
    }],
    upstreams: [{
      name: "origin",
      endpoints: version % 3 === 0 ? [first] : [first, second],
    }],
    plugins: {
      directory: "plugins",
      isolation: { end: "inline" },
      trust: ["end"],
      disabled: ["fragile", "end", "touch"],
    },
  });
}
