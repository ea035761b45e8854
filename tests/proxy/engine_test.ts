import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import type { Kept, PhaseHandler } from "../../src/plugin/handler.ts";
import { PhaseEngine } from "../../src/proxy/engine.ts";
import { HookSession, type HookSource } from "../../src/proxy/hook_session.ts";
import type { Link } from "../../src/proxy/plan.ts";

interface Stage {
  readonly engine: PhaseEngine;
  readonly session: HookSession;
  readonly called: string[];
  readonly failures: string[];
  link(name: string, result: () => unknown, failOpen?: boolean): Link;
}

function stage(): Stage {
  const called: string[] = [];
  const failures: string[] = [];
  const source = { downstream: { head: {} }, answeredBy: "" } as unknown as HookSource;
  return {
    called,
    failures,
    engine: new PhaseEngine(({ name }, phase, { type }) =>
      failures.push(`${name} ${phase} ${type}`)
    ),
    session: new HookSession(source),
    link: (name, result, failOpen = false) => ({
      matches: [],
      handler: {
        name,
        failOpen,
        inline: true,
        phases: new Set(),
        match: () => null,
        call() {
          called.push(name);
          return result();
        },
      } as PhaseHandler,
    }),
  };
}

const fail = () => {
  throw new Error("no");
};
const failLater = () => Promise.reject(new Error("no"));

Deno.test("hooks that do their work at once make no promise", () => {
  const { engine, session, called, link } = stage();
  const links = [link("a", () => undefined), link("b", () => 7), link("c", () => 8)];
  assert.equal(engine.chain(links, "upstreamRequestFilter", session), undefined);
  assert.deepEqual(called.splice(0), ["a", "b", "c"]);
  assert.equal(engine.first(links, "requestSummary", session), 7);
  assert.deepEqual(called.splice(0), ["a", "b"]);
  assert.equal(engine.gate(links, "requestFilter", session), 7);
  assert.equal(session.source.answeredBy, "b.requestFilter");
});

Deno.test("a hook that takes its time is waited for, and those behind it come after it", async () => {
  const { engine, session, called, link } = stage();
  let release = () => {};
  const slow = () => new Promise<void>((resolve) => release = resolve);
  const links = [link("a", () => undefined), link("b", slow), link("c", () => 8)];
  const done = engine.chain(links, "responseFilter", session);
  await undefined;
  assert.deepEqual(called, ["a", "b"]);
  release();
  await done;
  assert.deepEqual(called.splice(0), ["a", "b", "c"]);
  const asked = engine.gate(links, "requestFilter", session);
  release();
  assert.equal(await asked, 8);
  assert.equal(session.source.answeredBy, "c.requestFilter");
  const later = [link("d", () => Promise.resolve(9)), link("e", fail)];
  assert.equal(await engine.gate(later, "requestFilter", session), 9);
  assert.equal(session.source.answeredBy, "d.requestFilter");
});

Deno.test("a hook that fails ends the chain or is passed over, at once or later alike", async () => {
  for (const failing of [fail, failLater]) {
    const { engine, session, called, failures, link } = stage();
    const open = [link("a", failing, true), link("b", () => undefined)];
    await engine.chain(open, "upstreamRequestFilter", session);
    assert.deepEqual(called.splice(0), ["a", "b"]);
    assert.deepEqual(failures.splice(0), ["a upstreamRequestFilter plugin_error"]);
    const closed = [link("a", failing), link("b", () => undefined)];
    await assert.rejects(
      async () => await engine.chain(closed, "upstreamRequestFilter", session),
      (error) => error instanceof ProxyError && error.type === "plugin_error",
    );
    assert.deepEqual(called, ["a"]);
    await assert.rejects(async () => await engine.first(closed, "upstreamPeer", session));
    assert.equal(failures.length, 2);
  }
});

Deno.test("what is kept of a request is released once, when it is over, and also if it comes only then", () => {
  const { session } = stage();
  const released: string[] = [];
  const kept = (name: string): Kept => ({ next: null, release: () => void released.push(name) });
  session.keep(kept("a"));
  session.keep(kept("b"));
  assert.deepEqual(released, []);
  session.release();
  session.release();
  assert.deepEqual(released.sort(), ["a", "b"]);
  assert.equal(session.kept, null);
  session.keep(kept("late"));
  assert.deepEqual(released, ["a", "b", "late"]);
  assert.equal(session.kept, null);
});
