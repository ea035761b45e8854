/** What the program has learned and been told outlives a reload; and all workers take the next config, or none does. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { metricsUntil, scrape } from "../support/metrics.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { response } from "../support/raw_origin.ts";
import { reload, writePlugin } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { startMembers, tally } from "./upstream_support.ts";

Deno.test("what operators have set, what was counted and who was ejected outlives every reload", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, c, other] = await startMembers(stack, "a", "b", "c", "other");
  const group = {
    name: "group",
    endpoints: [a, b, c].map(({ address }) => address),
    health_check: { passive: { consecutive_failures: 1, eject: "600s", max_eject: "600s" } },
  };
  const config = (directory: string, mark: string, upstreams: unknown[]) =>
    configFile({
      route: { upstream: "group", rules: [{ response: { set: { "X-Mark": mark } } }] },
      upstreams: [group, ...upstreams as (typeof group)[]],
      top: { admin: { listen: `unix:${directory}/admin.sock` }, telemetry: { metrics: {} } },
    });
  const sluice = stack.use(
    await startSluice({ config: (directory) => config(directory, "1", []) }),
  );
  const { directory } = sluice;
  const admin = { path: `${directory}/admin.sock` };
  const ask = async (one: string) => JSON.parse(text(await rawRequest(admin, one)));
  const json = { "Content-Type": "application/json" };
  const state = async () => {
    const { endpoints } = await ask(get("/upstreams/group"));
    return endpoints.map(({ state, weight }: Record<string, unknown>) => [state, weight]);
  };
  c.does.status = 500;
  {
    await using client = await RawClient.connect(sluice.port());
    const counts = await tally(client, 9);
    assert.equal(counts["500"], 1, JSON.stringify(counts));
  }
  await ask(request("PATCH", `/upstreams/group/endpoints/${a.address}`, json, '{"enabled":false}'));
  await ask(request("PATCH", `/upstreams/group/endpoints/${b.address}`, json, '{"weight":7}'));
  await ask(request("PUT", "/log-level", json, '{"level":"debug"}'));
  const before = await state();
  assert.deepEqual(before, [["drained", 1], ["ready", 7], ["unusable", 1]]);
  const total = `sluice_upstream_requests_total{upstream="group",endpoint="${b.address}"}`;
  const counted = async () => (await scrape(admin)).get(total);
  await eventually(async () => (await counted() ?? 0) >= 4, "the requests to be counted");
  const sofar = await counted();

  // Another upstream is another right: the workers are replaced.
  const more = { name: "more", endpoints: [other.address] };
  for (const [mark, upstreams] of [["2", []], ["3", [more]]] as const) {
    assert.equal(await reload(sluice, config(directory, mark, [...upstreams])), true);
    assert.deepEqual(await state(), before, `after reload ${mark}`);
    if (mark === "3") c.does.status = 200;
    await using client = await RawClient.connect(sluice.port());
    assert.equal(field(await client.request(get("/")), "x-mark"), mark);
    const counts = await tally(client, 16);
    assert.deepEqual(counts, { b: 16 });
    assert.equal((await ask(get("/log-level"))).level, "debug");
  }
  await metricsUntil(admin, (now) => now.get(total)! >= sofar! + 30, "counts that go on");
});

Deno.test("when one worker cannot make the next config ready, none takes it, and nothing is left of it", async () => {
  let turns = 0;
  let failing = true;
  await using origin = await startSimpleOrigin({
    handler({ target }) {
      if (target !== "/turn") return response("hello");
      // The second of the two workers cannot.
      return response("", {}, ++turns === 2 && failing ? "500 No" : "200 OK");
    },
  });
  const config = (mark: string, plugin: boolean) =>
    configFile({
      origin: origin.address,
      route: { rules: [{ response: { set: { "X-Mark": mark } } }] },
      server: { threads: 2 },
      top: { telemetry: { metrics: { listen: "127.0.0.1:0" } } },
      ...(plugin
        ? {
          plugins: {
            isolation: { turn: "inline" },
            trust: ["turn"],
            grant: { turn: { net: [origin.address] } },
          },
        }
        : {}),
    });
  await using sluice = await startSluice({ config: config("one", false), threads: null });
  const port = sluice.port();
  Deno.mkdirSync(`${sluice.directory}/plugins`);
  writePlugin(
    sluice,
    "turn.ts",
    `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  permissions: { net: ["${origin.address}"] },
  async setup() {
    const { status } = await fetch("${origin.url}/turn");
    if (status !== 200) throw new Error("it is not my turn");
  },
  responseFilter(session) { session.response.headers.set("X-Turn", "yes"); },
});
`,
  );
  await using kept = await RawClient.connect(port);
  await kept.request(get("/"));
  assert.equal(await reload(sluice, config("two", true)), false);
  await sluice.waitForOutput(/it is not my turn/);
  assert.equal(turns >= 2, true);
  for (let i = 0; i < 8; i++) {
    const answer = await rawRequest(port, get("/"));
    assert.deepEqual([field(answer, "x-mark"), field(answer, "x-turn") ?? null], ["one", null]);
  }
  assert.equal(field(await kept.request(get("/")), "x-mark"), "one");
  failing = false;
  assert.equal(await reload(sluice), true);
  const answer = await rawRequest(port, get("/"));
  assert.deepEqual([field(answer, "x-mark"), field(answer, "x-turn")], ["two", "yes"]);
  // Workers that were replaced keep idle connections for a while; a stop does not wait for them.
  const start = performance.now();
  assert.equal(await sluice.stop(), 0);
  assert.ok(performance.now() - start < 20_000, "a stop that waits for idle connections");
});
