import assert from "node:assert/strict";
import { planReload } from "../../src/server/reload_plan.ts";
import { configOf } from "../config/support.ts";

const BASE = {
  listeners: [{ name: "web", address: "127.0.0.1:8080" }],
  services: [{ name: "main", threads: 2, routes: [{ id: "all", upstream: "app" }] }],
  upstreams: [{ name: "app", endpoints: ["127.0.0.1:1", "127.0.0.1:2"] }],
};

type Parts = Record<string, unknown>;

async function plan(before: Parts, after: Parts, touched: string[] = [], plugins: string[] = []) {
  const load = (parts: Parts) => configOf(JSON.stringify({ ...BASE, ...parts }), { plugins });
  const changes = planReload(await load(before), await load(after), new Set(touched));
  return changes.map(({ action, kind, name }) => `${action} ${kind} ${name}`);
}

Deno.test("nothing changes by nothing", async () => {
  assert.deepEqual(await plan({}, {}), []);
});

const CASES: readonly (readonly [what: string, after: Parts, expected: readonly string[]])[] = [
  ["fewer endpoints", { upstreams: [{ name: "app", endpoints: ["127.0.0.1:1"] }] }, [
    "swap upstream app",
  ]],
  ["another address", { upstreams: [{ name: "app", endpoints: ["127.0.0.1:3"] }] }, [
    "restart service main",
    "swap upstream app",
  ]],
  ["another policy", {
    upstreams: [{ ...BASE.upstreams[0], load_balancing: { policy: "random" } }],
  }, ["rebuild upstream app"]],
  ["a limit", { listeners: [{ ...BASE.listeners[0], limits: { fields: 7 } }] }, [
    "swap listener web",
  ]],
  ["a backlog", { listeners: [{ ...BASE.listeners[0], backlog: 9 }] }, ["upgrade listener web"]],
  ["another port", { listeners: [{ name: "web", address: "127.0.0.1:8081" }] }, [
    "rebuild listener web",
    "restart service main",
  ]],
  ["a route", {
    services: [{
      ...BASE.services[0],
      routes: [{ id: "all", upstream: "app", match: { path: "/a" } }, {
        id: "new",
        upstream: "app",
      }],
    }],
  }, ["swap route all", "add route new"]],
  ["more threads", { services: [{ ...BASE.services[0], threads: 3 }] }, ["swap service main"]],
  ["a server key", { server: { max_retries: 1, pid_file: "x" } }, [
    "upgrade server pid_file",
    "swap server max_retries",
  ]],
  ["metrics", { telemetry: { metrics: {} } }, [
    "restart service main",
    "rebuild telemetry metrics",
  ]],
];

for (const [what, after, expected] of CASES) {
  Deno.test(`a reload is told for ${what}`, async () => {
    assert.deepEqual((await plan({}, after)).sort(), [...expected].sort());
  });
}

Deno.test("plugins are rebuilt for their files, rights and configs, and inline ones with their workers", async () => {
  const parts = (more: Parts = {}) => ({ plugins: { directory: "plugins", ...more } });
  const names = ["geo"];
  assert.deepEqual(await plan(parts(), parts(), ["geo"], names), ["rebuild plugin geo"]);
  assert.deepEqual(await plan(parts(), parts({ heap: "32MiB" }), [], names), [
    "rebuild plugin geo",
  ]);
  const inline = parts({ isolation: "inline", trust: ["geo"] });
  assert.deepEqual(await plan(inline, inline, ["geo"], names), [
    "restart service main",
    "rebuild plugin geo",
  ]);
});
