import assert from "node:assert/strict";
import fc from "fast-check";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { connectPlugins } from "../../src/sandbox/connect.ts";
import { PluginHost } from "../../src/sandbox/host.ts";
import { copyEndpoints, ENDPOINT_PACE, MAX_ENDPOINTS } from "../../src/sandbox/named_endpoints.ts";
import { Paced } from "../../src/sandbox/paced.ts";
import type { PluginEvent } from "../../src/sandbox/runner.ts";
import { FakeSession } from "../support/fake_session.ts";
import { type Isolation, specOf, start } from "./support.ts";

const ALL: readonly Isolation[] = ["worker", "process", "inline"];

/** Runs a plugin that is written as text; `write` writes it anew. */
async function withPlugin(
  text: string,
  use: (plugin: { file: string; write: (text: string) => Promise<void> }) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  const file = `${directory}/finder.js`;
  const write = (text: string) => Deno.writeTextFile(file, text);
  try {
    await write(text);
    await use({ file, write });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function lists(bench: { readonly events: readonly PluginEvent[] }): unknown[] {
  return bench.events.flatMap((event) => event.kind === "endpoints" ? [event.list] : []);
}

const said = (text: string) => (event: PluginEvent) =>
  event.kind === "log" && event.message === text;

Deno.test("a list of endpoints is copied as it is, or refused with a clear error", () => {
  const entry = fc.oneof(
    fc.string(),
    fc.record({
      address: fc.string(),
      weight: fc.integer(),
      labels: fc.dictionary(fc.string(), fc.string()),
    }),
    fc.anything({ withBigInt: true, withDate: true, withMap: true, withTypedArray: true }),
  );
  fc.assert(fc.property(fc.oneof(fc.array(entry), fc.anything()), (value) => {
    try {
      const copy = copyEndpoints(value);
      // A clone, too, has plain objects only.
      assert.deepEqual(copy, structuredClone(value));
      assert.ok(Array.isArray(value));
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
    }
  }));
});

Deno.test("a list of endpoints holds 10 000 entries and 2 MiB, and no more", () => {
  const entries = (count: number) =>
    Array.from(
      { length: count },
      (_, i) => ({ address: `10.0.${i >> 8}.${i & 255}:80`, weight: 1 }),
    );
  assert.equal(copyEndpoints(entries(MAX_ENDPOINTS)).length, MAX_ENDPOINTS);
  assert.throws(
    () => copyEndpoints(entries(MAX_ENDPOINTS + 1)),
    { name: "RangeError", message: "the list names 10001 endpoints, at most 10000 are taken" },
  );
  assert.throws(() => copyEndpoints(["x".repeat(2 ** 21)]), /larger than 2097152 bytes/);
  assert.throws(() => copyEndpoints("127.0.0.1:1"), /must be a list/);
  assert.throws(() => copyEndpoints([() => {}]), /holds a function/);
});

Deno.test("of values in quick succession the first and the last are passed on, and none before it is open", async () => {
  const passed: number[] = [];
  let wake = () => {};
  const paced = new Paced<number>(20, (value) => {
    passed.push(value);
    wake();
  });
  paced.put(1);
  paced.put(2);
  assert.deepEqual(passed, []);
  paced.open();
  assert.deepEqual(passed, [2]);
  for (let i = 3; i < 100; i++) paced.put(i);
  assert.deepEqual(passed, [2]);
  await new Promise<void>((resolve) => wake = resolve);
  assert.deepEqual(passed, [2, 99]);
  paced.put(100);
  paced.close();
  paced.open();
  paced.put(101);
  assert.deepEqual(passed, [2, 99]);
});

for (const isolation of ALL) {
  Deno.test(`in isolation "${isolation}", setup, hooks and tick name endpoints`, async () => {
    const text = `export default {
      tickInterval: "10ms",
      setup(env) { env.setEndpoints(["127.0.0.1:1"]); return { seen: false, ticked: false }; },
      requestSummary(session, { setEndpoints, state }) {
        if (session.request.path === "/seen") state.seen = true;
        else setEndpoints([{ address: "127.0.0.1:2", weight: 3 }]);
        return "asked";
      },
      tick(ctx) {
        if (!ctx.state.seen || ctx.state.ticked) return;
        ctx.state.ticked = true;
        ctx.setEndpoints([{ address: "127.0.0.1:3", priority: 1, labels: { zone: "a" } }]);
      },
    };`;
    await withPlugin(text, async ({ file }) => {
      await using bench = await start([specOf(file, isolation)]);
      await bench.event((event) => event.kind === "endpoints");
      assert.equal(await bench.handler().call("requestSummary", new FakeSession()), "asked");
      // Only then, so that the next list does not take the place of this one.
      await bench.event(() => lists(bench).length === 2);
      await bench.handler().call("requestSummary", new FakeSession({ target: "/seen" }));
      await bench.event(() => lists(bench).length === 3);
      assert.deepEqual(lists(bench), [
        ["127.0.0.1:1"],
        [{ address: "127.0.0.1:2", weight: 3 }],
        [{ address: "127.0.0.1:3", priority: 1, labels: { zone: "a" } }],
      ]);
    });
  });

  Deno.test(`in isolation "${isolation}", a plugin that floods with endpoints is slowed down, and its last list counts`, async () => {
    const text = `export default {
      setup(env) { env.setEndpoints([]); },
      async requestSummary(session, ctx) {
        for (let i = 1; i <= 20_000; i++) {
          ctx.setEndpoints(["127.0.0.1:" + i]);
          if (i % 1000 === 0) await new Promise((done) => setTimeout(done, 5));
        }
        return "flooded";
      },
    };`;
    await withPlugin(text, async ({ file }) => {
      await using bench = await start([specOf(file, isolation, { timeout: 10_000 })]);
      const began = performance.now();
      assert.equal(await bench.handler().call("requestSummary", new FakeSession()), "flooded");
      await bench.event((event) =>
        event.kind === "endpoints" && event.list[0] === "127.0.0.1:20000"
      );
      const most = (performance.now() - began) / ENDPOINT_PACE + 2;
      assert.ok(lists(bench).length <= most + 1, `${lists(bench).length} lists, at most ${most}`);
      assert.ok(!bench.events.some(({ kind }) => kind === "crashed"));
    });
  });

  Deno.test(`in isolation "${isolation}", what cannot be a list of endpoints throws where it is named`, async () => {
    const text = `export default {
      setup(env) {
        for (const list of ["x", null, [() => {}], Array(10_001).fill("a:1"), ["x".repeat(3e6)]]) {
          try { env.setEndpoints(list); } catch (error) { env.log.info(error.name + ": " + error.message); }
        }
        env.log.info("the end");
      },
    };`;
    await withPlugin(text, async ({ file }) => {
      await using bench = await start([specOf(file, isolation)]);
      await bench.event(said("the end"));
      assert.deepEqual(
        bench.events.flatMap((event) => event.kind === "log" ? [event.message] : []),
        [
          "TypeError: the endpoints must be a list of addresses or of { address, weight, … }",
          "TypeError: the endpoints must be a list of addresses or of { address, weight, … }",
          "ValueError: the list of endpoints holds a function, which cannot be copied",
          "RangeError: the list names 10001 endpoints, at most 10000 are taken",
          "ValueError: the list of endpoints is larger than 2097152 bytes",
          "the end",
        ],
      );
      assert.deepEqual(lists(bench), []);
    });
  });

  Deno.test(`in isolation "${isolation}", a plugin that was replaced, or could not replace, names no endpoints`, async () => {
    const text = (name: string, more = "") =>
      `export default {
      setup(env) { env.setEndpoints(["${name}:1"]); ${more}; return env; },
      async dispose(env) {
        env.setEndpoints(["late:1"]);
        await new Promise((done) => setTimeout(done, ${ENDPOINT_PACE * 2}));
        env.log.info("disposed ${name}");
      },
    };`;
    await withPlugin(text("first"), async ({ file, write }) => {
      await using bench = await start([specOf(file, isolation)]);
      await bench.event((event) => event.kind === "endpoints");
      if (isolation !== "inline") {
        await write(text("broken", 'throw new Error("on purpose")'));
        await assert.rejects(bench.host.replace("finder"), /on purpose/);
      }
      await write(text("second"));
      await bench.host.replace("finder");
      await bench.event(said("disposed first"));
      await bench.event(() => lists(bench).length >= 2);
      assert.deepEqual(lists(bench), [["first:1"], ["second:1"]]);
    });
  });
}

Deno.test("of several service workers, the one that runs the ticks speaks for an inline plugin; then another", async () => {
  await withPlugin(
    'let n = 0; export default { setup(env) { env.setEndpoints(["127.0.0.1:" + ++n]); } };',
    async ({ file }) => {
      const events: PluginEvent[] = [];
      let wake = () => {};
      const host = await PluginHost.start({
        plugins: [specOf(file, "inline")],
        onEvent: (event) => {
          events.push(event);
          wake();
        },
      });
      const count = async (length: number) => {
        while (lists({ events }).length < length) {
          await new Promise<void>((resolve) => wake = resolve);
        }
      };
      const timers = new TimerWheel();
      const first = await connectPlugins(host.connect(), { timers });
      const second = await connectPlugins(host.connect(), { timers });
      await count(1);
      assert.deepEqual(lists({ events }), [["127.0.0.1:1"]]);
      await first.close();
      await count(2);
      assert.deepEqual(lists({ events }), [["127.0.0.1:1"], ["127.0.0.1:2"]]);
      await second.close();
      await host.close();
      timers.close();
    },
  );
});
