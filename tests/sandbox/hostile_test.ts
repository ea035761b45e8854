import { setImmediate } from "node:timers";
import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { FakeSession } from "../support/fake_session.ts";
import { type Bench, type Isolation, SANDBOXES, specOf, start } from "./support.ts";

const decoder = new TextDecoder();
const QUICK = { restart: { backoff: 10 }, pingInterval: 200, lateTimeout: 1_000 };

/**
 * @param timeout Milliseconds for a hook. Default: the usual.
 * @param lateTimeout Milliseconds for the answer to a ping after a hook was late. Default: enough for a busy machine.
 */
async function hostile(
  isolation: Isolation,
  timeout: number | null = null,
  lateTimeout: number = QUICK.lateTimeout,
): Promise<Bench> {
  return await start([
    specOf("hostile.ts", isolation, { timeout }),
    specOf("noop.ts", isolation),
  ], { ...QUICK, lateTimeout });
}

/** Calls the hostile plugin; the text of its answer, or the error of the call. */
async function ask(
  bench: Bench,
  target: string,
  session = new FakeSession({ target }),
): Promise<string> {
  try {
    const reply = await bench.handler(0).call("requestFilter", session) as
      | { body: Uint8Array }
      | undefined;
    return reply === undefined ? "nothing" : decoder.decode(reply.body);
  } catch (error) {
    assert.ok(error instanceof ProxyError, String(error));
    assert.equal(error.source, "internal");
    return `${error.type}: ${error.message}`;
  }
}

/** The other plugin still answers. */
async function otherAnswers(bench: Bench): Promise<void> {
  const session = new FakeSession();
  await bench.handler(1).call("requestFilter", session);
  assert.equal(session.upstreamRequest.headers.get("x-plugin"), "test");
}

for (const isolation of SANDBOXES) {
  Deno.test(`in isolation "${isolation}", a plugin reaches no file, variable or address`, async () => {
    await using bench = await hostile(isolation);
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    for (
      const attack of [
        "read",
        "read_async",
        "read_sluice",
        "fetch_file",
        "node_fs",
        "write",
        "env",
        "connect",
        "fetch",
        "socket",
        "import_outside",
      ]
    ) {
      const got = await ask(bench, `/attack/${attack}?${port}`);
      assert.match(got, /NotCapable|Requires|allow|permission|not supported/i, `${attack}: ${got}`);
      assert.doesNotMatch(got, /^got/, attack);
    }
  });

  Deno.test(`in isolation "${isolation}", what leads to other realms and to the process is gone`, async () => {
    await using bench = await hostile(isolation);
    assert.equal(await ask(bench, "/names"), "");
  });

  for (
    const [bomb, cause] of [
      ["loop", "exit"],
      ["loop_after_await", "exit"],
      ["microtasks", "exit"],
      ["regex", "exit"],
      ["wait", "exit"],
      ["heap", "memory"],
      ["buffers", "memory"],
      ["import_net", "import"],
      ["import_patched", "import"],
      ["import_worker_threads", "import"],
      ["import_data", "import"],
      ["import_blob", "import"],
      ["import_remote", "import"],
    ] as const
  ) {
    Deno.test(`in isolation "${isolation}", "${bomb}" ends only the plugin that does it, which comes back`, async () => {
      // One that fills memory goes on answering, but slowly: what it does has to be found out before it is called deaf.
      const lateTimeout = bomb === "buffers" ? 30_000 : QUICK.lateTimeout;
      await using bench = await hostile(isolation, null, lateTimeout);
      const asked = ask(bench, `/bomb/${bomb}`);
      await otherAnswers(bench);
      assert.match(
        await asked,
        /^plugin_(timeout|unavailable|error): plugin "hostile", requestFilter: /,
      );
      await otherAnswers(bench);
      // V8 interrupts what runs out of heap, after which the sandbox may be well, or has to be replaced.
      if (bomb !== "heap" && bomb !== "microtasks") {
        const crash = await bench.event((event) => event.kind === "crashed");
        assert.ok(crash.kind === "crashed");
        assert.equal(crash.plugin, "hostile");
        assert.equal(crash.cause, cause, crash.message);
        await otherAnswers(bench);
        await bench.event((event) => event.kind === "restarted");
      }
      // The service worker is told by a port of its own, so the news may come a few turns later.
      const late = performance.now() + 20_000;
      let answer = "";
      while ((answer = await ask(bench, "/x/ok")) !== "fine" && performance.now() < late) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(answer, "fine");
      assert.ok(
        !bench.events.some((event) =>
          event.kind !== "log" && event.plugin === "noop" && event.kind !== "started"
        ),
      );
    });
  }

  Deno.test(`in isolation "${isolation}", misbehaviour fails the one call and no other`, async () => {
    // A reply of many megabytes takes its time on a machine that has other things to do.
    await using bench = await hostile(isolation, 4_000);
    const results: [string, RegExp][] = [
      ["never", /^plugin_timeout: plugin "hostile", requestFilter: it missed its deadline/],
      ["reject", /^plugin_error: .*Error: rejected on purpose/],
      ["float", /^nothing/],
      ["throw_later", /^nothing/],
      ["throw_odd", /^plugin_error: .*threw/],
      ["thenable", /^nothing/],
      ["big_reply", /^plugin_error: .*at most 8388608/],
      ["bad_type", /^plugin_error: /],
      ["number", /^plugin_error: .*returned a number/],
      ["many_changes", /^plugin_error: .*at most 1000 changes/],
      ["big_var", /^plugin_error: .*larger than 65536 bytes/],
      ["function_var", /^plugin_error: .*holds a function/],
      ["cyclic_var", /^plugin_error: .*levels deep/],
      ["inject", /^plugin_error: .*U\+000D/],
      ["smuggle", /^plugin_error: .*Sluice writes it/],
      ["request_headers", /^plugin_error: .*change session\.upstreamRequest/],
      ["response", /^plugin_error: .*there is none in requestFilter/],
      ["late", /^nothing/],
      ["pollute", /^nothing/],
      ["ok", /^fine/],
    ];
    for (const [name, expected] of results) {
      const session = new FakeSession({ target: `/x/${name}` });
      const before = JSON.stringify(session.state());
      const got = await ask(bench, `/x/${name}`, session);
      assert.match(got, expected, `${name}: ${got}`);
      if (name !== "pollute") assert.equal(JSON.stringify(session.state()), before, name);
    }
    assert.equal(({} as { polluted?: string }).polluted, undefined);
    await otherAnswers(bench);
    const late = await bench.event((event) =>
      event.kind === "log" && event.message.startsWith("late:")
    );
    assert.match((late as { message: string }).message, /the hook has ended/);
    await bench.event((event) =>
      event.kind === "log" && /nobody waits for this/.test(event.message)
    );
    await bench.event((event) => event.kind === "log" && /thrown in a timer/.test(event.message));
    assert.ok(!bench.events.some((event) => event.kind === "crashed"));
  });
}
