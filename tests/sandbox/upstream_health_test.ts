import assert from "node:assert/strict";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import type { HealthChange } from "../../src/plugin/upstream.ts";
import { connectPlugins } from "../../src/sandbox/connect.ts";
import type { PluginEvent } from "../../src/sandbox/runner.ts";
import { type Bench, type Isolation, specOf, start } from "./support.ts";

const ALL: readonly Isolation[] = ["worker", "process", "inline"];

const change = (reason: string): HealthChange => ({
  upstream: "app",
  endpoint: "127.0.0.1:3",
  kind: "unhealthy",
  reason,
  at: 1_700_000_000_000,
  worker: null,
});

const TEXT = `export default {
  limits: { timeout: "200ms" },
  upstreamHealth(change, ctx) {
    switch (change.reason) {
      case "throw": throw new Error("on purpose");
      case "wait": return new Promise((done) => ctx.signal.addEventListener("abort", () => {
        ctx.log.info("aborted: " + ctx.signal.reason.name);
        done();
      }));
      case "return": return "something";
    }
    const told = JSON.stringify(change);
    change.reason = "nobody else sees this";
    ctx.log.info("told " + ctx.config + " " + told);
  },
  config: { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value: value.name }) } },
};`;

async function withBench(
  isolation: Isolation,
  use: (bench: Bench, messages: () => string[]) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${directory}/p.js`, TEXT);
    const uses = ["a", "b"].map((name) => ({ config: { name }, source: null }));
    await using bench = await start([specOf(`${directory}/p.js`, isolation, { uses })]);
    await use(
      bench,
      () => bench.events.flatMap((event) => event.kind === "log" ? [event.message] : []),
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const says = (pattern: RegExp) => (event: PluginEvent) =>
  event.kind === "log" && pattern.test(event.message);

for (const isolation of ALL) {
  Deno.test(`in isolation "${isolation}", a change of health is told once for each use, however many service workers there are`, async () => {
    await withBench(isolation, async (bench, messages) => {
      const timers = new TimerWheel();
      const another = await connectPlugins(bench.host.connect(), { timers });
      bench.host.tellHealth(change("first"));
      bench.host.tellHealth(change("second"));
      await bench.event(says(/^told b .*second/));
      const told = messages();
      // Whatever the other one had been told, it would have said before this.
      await another.handler(0, 1).call("upstreamHealth", null, change("last"));
      await bench.event(says(/^told b .*last/));
      await another.close();
      timers.close();
      assert.deepEqual(messages().slice(told.length), [
        `told b ${JSON.stringify(change("last"))}`,
      ]);
      assert.deepEqual(
        told,
        ["first", "second"].flatMap((reason) =>
          ["a", "b"].map((use) => `told ${use} ${JSON.stringify(change(reason))}`)
        ),
      );
    });
  });

  Deno.test(`in isolation "${isolation}", a hook for health that throws, is late or returns something is logged, and the next is called`, async () => {
    await withBench(isolation, async (bench, messages) => {
      for (const reason of ["throw", "return", "wait"]) bench.host.tellHealth(change(reason));
      await bench.event(() => messages().filter((text) => /deadline/.test(text)).length === 2);
      await bench.event(() => messages().filter((text) => /^aborted/.test(text)).length === 2);
      const count = (pattern: RegExp) => messages().filter((text) => pattern.test(text)).length;
      assert.equal(count(/upstreamHealth.*on purpose/), 2);
      assert.equal(count(/upstreamHealth.*returned a string/), 2);
      assert.equal(count(/upstreamHealth.*missed its deadline/), 2);
      assert.equal(count(/^aborted: TimeoutError$/), 2);
      assert.equal(messages().length, 8);
      bench.host.tellHealth(change("fine"));
      await bench.event(says(/^told b .*fine/));
      assert.ok(!bench.events.some(({ kind }) => kind === "crashed"));
    });
  });

  Deno.test(`in isolation "${isolation}", a service worker calls the hook for health by its handler`, async () => {
    await withBench(isolation, async (bench) => {
      const handler = bench.handler(0, 1);
      assert.ok(handler.phases.has("upstreamHealth"));
      assert.equal(await handler.call("upstreamHealth", null, change("direct")), undefined);
      await bench.event(says(/^told b .*direct/));
      await assert.rejects(
        async () => await handler.call("upstreamHealth", null, change("wait")),
        { type: "plugin_timeout" },
      );
    });
  });
}
