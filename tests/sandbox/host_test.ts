import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import type { Reply } from "../../src/plugin/session.ts";
import { PluginLoadError } from "../../src/sandbox/load_error.ts";
import { FakeSession } from "../support/fake_session.ts";
import { type Bench, type Isolation, specOf, start } from "./support.ts";

const ALL: readonly Isolation[] = ["worker", "process", "inline"];
const decoder = new TextDecoder();

const source = (version: number) => `
export default {
  setup: () => ({ version: ${version} }),
  dispose(state) { console.log("disposed " + state.version); },
  async requestFilter(session, ctx) {
    if (session.request.path === "/slow") {
      await new Promise((resolve) => { ctx.signal.addEventListener("abort", resolve); setTimeout(resolve, 300); });
    }
    return session.respond(200, "version ${version}");
  },
};
`;

async function ask(bench: Bench, target = "/"): Promise<string> {
  const reply = await bench.handler().call("requestFilter", new FakeSession({ target })) as Reply;
  return decoder.decode(reply.body!);
}

for (const isolation of ALL) {
  Deno.test(`in isolation "${isolation}", a replaced plugin answers new calls with its new code at once`, async () => {
    const dir = await Deno.makeTempDir();
    try {
      const file = `${dir}/p.js`;
      await Deno.writeTextFile(file, source(1));
      await using bench = await start([specOf(file, isolation)]);
      assert.equal(await ask(bench), "version 1");
      const slow = ask(bench, "/slow");
      await Deno.writeTextFile(file, source(2));
      await bench.host.replace("p");
      // Told by a port; the old one answers until the news is there.
      while (await ask(bench) !== "version 2") {
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(await slow, "version 1");
      if (isolation !== "inline") {
        await bench.event((event) => event.kind === "log" && event.message === "disposed 1");
      }
      await Deno.writeTextFile(file, "export default { logging: 1 };");
      await assert.rejects(bench.host.replace("p"), PluginLoadError);
      assert.equal(await ask(bench), "version 2");
      assert.ok(!bench.events.some((event) => event.kind === "crashed"));
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

for (const isolation of ["worker", "process"] as const) {
  Deno.test(`in isolation "${isolation}", a plugin that keeps dying is left alone by the breaker`, async () => {
    await using bench = await start([specOf("hostile.ts", isolation)], {
      restart: { backoff: 1, crashes: 2, cooldown: 60_000 },
    });
    const die = async () => {
      try {
        await bench.handler().call(
          "requestFilter",
          new FakeSession({ target: "/bomb/import_net" }),
        );
      } catch {
        // Unavailable, which is what happens to calls of a dead plugin.
      }
    };
    await die();
    await bench.event((event) => event.kind === "restarted");
    while (bench.plugins.down.length > 0) await new Promise((resolve) => setImmediate(resolve));
    await die();
    const open = await bench.event((event) => event.kind === "breaker_open");
    assert.equal(open.plugin, "hostile");
    await assert.rejects(
      async () => await bench.handler().call("requestFilter", new FakeSession()),
      /plugin "hostile", requestFilter: /,
    );
    await bench.host.replace("hostile");
    while (bench.plugins.down.length > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await ask(bench, "/x/ok"), "fine");
  });

  Deno.test(`in isolation "${isolation}", a var that is no plain data fails its own call and no other`, async () => {
    await using bench = await start([specOf("noop.ts", isolation)]);
    const bad = new FakeSession({ vars: { inline: (() => 1) as never } });
    const results = await Promise.allSettled(
      [new FakeSession(), bad, new FakeSession()].map((session) =>
        bench.handler().call("requestFilter", session) as Promise<unknown>
      ),
    );
    assert.deepEqual(results.map((one) => one.status), ["fulfilled", "rejected", "fulfilled"]);
    assert.match(String((results[1] as PromiseRejectedResult).reason), /no plain data/);
  });

  Deno.test(`in isolation "${isolation}", more calls than a plugin takes at once are refused`, async () => {
    const dir = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(
        `${dir}/p.js`,
        "export default { limits: { concurrency: 2 }, requestFilter: () => new Promise((r) => setTimeout(r, 50)) };",
      );
      await using bench = await start([specOf(`${dir}/p.js`, isolation)]);
      const call = () =>
        bench.handler().call("requestFilter", new FakeSession()) as Promise<unknown>;
      const results = await Promise.allSettled([call(), call(), call()]);
      assert.deepEqual(results.map((one) => one.status), ["fulfilled", "fulfilled", "rejected"]);
      assert.match(String((results[2] as PromiseRejectedResult).reason), /2 calls wait already/);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

for (const isolation of ALL) {
  Deno.test(`in isolation "${isolation}", tick is called by itself, and is no phase for the engine`, async () => {
    const dir = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(
        `${dir}/p.js`,
        'export default { tickInterval: "20ms", tick(ctx) { ctx.log.info("tick"); }, logging() {} };',
      );
      await using bench = await start([specOf(`${dir}/p.js`, isolation)]);
      assert.deepEqual([...bench.handler().phases], ["logging"]);
      const ticks = () =>
        bench.events.filter((event) => event.kind === "log" && event.message === "tick").length;
      await bench.event(() => ticks() >= 3);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

Deno.test("threads of one process start plugins beside each other", async () => {
  const threads = [1, 2].map(() =>
    new Worker(new URL("./fixtures/other_thread.ts", import.meta.url), { type: "module" })
  );
  const said = await Promise.all(
    threads.map((thread) =>
      new Promise((resolve) => thread.onmessage = (event) => resolve(event.data))
    ),
  );
  for (const thread of threads) thread.terminate();
  assert.deepEqual(said, ["started", "started"]);
});
