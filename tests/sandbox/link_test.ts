import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import fc from "fast-check";
import { ManualClock } from "../../src/base/clock.ts";
import { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import type { PhaseName } from "../../src/plugin/phases.ts";
import type { Channel } from "../../src/sandbox/channel.ts";
import { Link } from "../../src/sandbox/link.ts";
import {
  BODY,
  CALL,
  CANCEL,
  DONE,
  FAILED,
  MAX_EFFECTS,
  type PhaseShape,
  PING,
  PONG,
  READ_BODY,
  SET,
  shapeOf,
  STATUS,
  UPSTREAM_REQUEST,
  VAR_SET,
} from "../../src/sandbox/protocol.ts";
import { FakeSession, type FakeSessionParts } from "../support/fake_session.ts";

/** A channel whose other side is the test. */
class FakeChannel implements Channel {
  onMessage: (message: unknown) => void = () => {};
  onClose: (reason: string, malformed: boolean) => void = () => {};
  onFull: () => void = () => {};
  open = true;
  backlog = 0;
  readonly sent: unknown[][] = [];

  post(message: readonly unknown[]): void {
    this.sent.push([...message]);
  }

  postCall(id: number, use: number, shape: PhaseShape): void {
    this.sent.push([CALL, id, use, shape.number]);
  }

  close(): void {
    this.open = false;
  }
}

function setUp() {
  const channel = new FakeChannel();
  const clock = new ManualClock();
  const timers = new TimerWheel({ clock });
  const said: string[] = [];
  const link = new Link("evil", channel, timers, 500, {
    late: (rounds) => said.push(`late ${rounds}`),
    foul: (reason) => said.push(`foul: ${reason}`),
    full: () => said.push("full"),
    drained: () => said.push("drained"),
  });
  const advance = (ms: number) => {
    for (let i = 0; i < ms; i += 10) {
      clock.advance(10);
      timers.advance();
    }
  };
  const call = (phase: PhaseName = "requestFilter", parts: FakeSessionParts = {}) => {
    const session = new FakeSession(parts);
    const result = link.call(0, shapeOf(phase), 1000, session, new Uint8Array(1), false).then(
      (value) => ({ value, error: null }),
      (error: ProxyError) => ({ value: undefined, error }),
    );
    return { session, result, id: channel.sent.findLast((one) => one[0] === CALL)![1] as number };
  };
  return { channel, link, said, advance, call };
}

Deno.test("a call is answered once; what comes after is counted and does nothing", async () => {
  const { channel, link, call } = setUp();
  const { result, session, id } = call();
  channel.onMessage([DONE, id, [VAR_SET, "a", 1, undefined], undefined]);
  channel.onMessage([DONE, id, [VAR_SET, "a", 2, undefined], undefined]);
  channel.onMessage([FAILED, id, "no"]);
  channel.onMessage([DONE, 999, null, undefined]);
  assert.equal((await result).error, null);
  assert.equal(session.vars.get("a"), 1);
  assert.equal(link.ignored, 3);
});

const REPLY = (
  headers: unknown,
  body: unknown = null,
  status: unknown = 200,
) => [status, headers, body];
const proto = JSON.parse('{"__proto__":{"x":1}}');

for (
  const [what, phase, effects, form] of [
    ["changes that are no list", "requestFilter", {}, undefined],
    ["too many changes", "requestFilter", new Array((MAX_EFFECTS + 1) * 4).fill(0), undefined],
    ["a torn change", "requestFilter", [SET, 1, "a"], undefined],
    ["an unknown change", "requestFilter", [77, 1, 2, 3], undefined],
    ["a change by name", "requestFilter", ["constructor", 1, 2, 3], undefined],
    ["a change of the request itself", "requestFilter", [SET, 0, "a", "b"], undefined],
    ["a change of a response too early", "requestFilter", [SET, 3, "a", "b"], undefined],
    ["a status too early", "requestFilter", [STATUS, 200, undefined, undefined], undefined],
    ["a change where none is allowed", "logging", [SET, UPSTREAM_REQUEST, "a", "b"], undefined],
    ["an injected line", "requestFilter", [SET, 1, "a", "b\r\nc: d"], undefined],
    ["a field name with a space", "requestFilter", [SET, 1, "a b", "c"], undefined],
    ["a framing field", "requestFilter", [SET, 1, "Transfer-Encoding", "chunked"], undefined],
    ["an object for a value", "requestFilter", [SET, 1, "a", { toString: null }], undefined],
    ["a var with a prototype", "requestFilter", [VAR_SET, "a", proto, undefined], undefined],
    ["a huge var", "requestFilter", [VAR_SET, "a", "x".repeat(70_000), undefined], undefined],
    ["shared memory", "requestFilter", [
      VAR_SET,
      "a",
      new Uint8Array(new SharedArrayBuffer(8)),
      undefined,
    ], undefined],
    ["a reply that is text", "requestFilter", null, "hello"],
    ["a reply with a bad status", "requestFilter", null, REPLY([], null, 999)],
    ["a reply with a status that is text", "requestFilter", null, REPLY([], null, "200")],
    ["a reply with half a field", "requestFilter", null, REPLY(["a"])],
    ["a reply with an injected line", "requestFilter", null, REPLY(["a", "b\nc"])],
    ["a reply with a framing field", "requestFilter", null, REPLY(["Content-Length", "3"])],
    ["a reply with too many fields", "requestFilter", null, REPLY(new Array(1000).fill("a"))],
    ["a huge reply", "requestFilter", null, REPLY([], new Uint8Array((8 << 20) + 1))],
    [
      "a reply of shared memory",
      "requestFilter",
      null,
      REPLY([], new Uint8Array(new SharedArrayBuffer(8))),
    ],
    ["a result where there is none", "upstreamRequestFilter", null, 1],
    ["a chunk that is text", "responseBodyFilter", null, "hello"],
    ["a huge chunk", "responseBodyFilter", null, new Uint8Array((8 << 20) + 1)],
    [
      "a chunk of shared memory",
      "responseBodyFilter",
      null,
      new Uint8Array(new SharedArrayBuffer(8)),
    ],
    ["a peer without an address", "upstreamPeer", null, { tls: true }],
    ["a peer with an inherited address", "upstreamPeer", null, Object.create({ address: "a:1" })],
    ["a peer of no known protocol", "upstreamPeer", null, { address: "a:1", protocol: "h3" }],
    ["a peer with a number as text", "upstreamPeer", null, {
      address: "a:1",
      protocol: "h2c",
      http2: { maxStreams: "7" },
    }],
    ["a boolean that is none", "suppressErrorLog", null, "true"],
    ["an endless text", "requestSummary", null, "x".repeat(5000)],
  ] as const
) {
  Deno.test(`${what} out of a sandbox fails the call and changes nothing`, async () => {
    const { channel, call } = setUp();
    const { result, session, id } = call(phase);
    const before = JSON.stringify(session.state());
    channel.onMessage([DONE, id, effects, form]);
    const { error } = await result;
    assert.equal(error?.type, "plugin_error");
    assert.match(error!.message, new RegExp(`^plugin "evil", ${phase}: `));
    assert.equal(JSON.stringify(session.state()), before);
  });
}

Deno.test("whatever a sandbox sends, a call ends with a result or a ProxyError", async () => {
  const junk = fc.anything({
    withBigInt: true,
    withDate: true,
    withTypedArray: true,
    withNullPrototype: true,
    withSparseArray: true,
    withMap: true,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<PhaseName>(
        "requestFilter",
        "responseBodyFilter",
        "upstreamPeer",
        "responseFilter",
        "logging",
      ),
      fc.array(
        fc.oneof(
          junk,
          fc.tuple(fc.constantFrom(DONE, FAILED, READ_BODY, PONG, 99), fc.constant(1), junk, junk),
          fc.tuple(fc.constant(DONE), fc.constant(1), fc.array(junk, { maxLength: 8 }), junk),
        ),
        { maxLength: 6 },
      ),
      async (phase, messages) => {
        const { channel, call, advance } = setUp();
        const { result, id } = call(phase);
        assert.equal(id, 1);
        for (const message of messages) channel.onMessage(message);
        // The clock stands still while a body is read, so let that come to its end first.
        await new Promise((resolve) => setImmediate(resolve));
        advance(1100);
        const { error } = await result;
        assert.ok(error === null || error instanceof ProxyError, String(error));
        advance(2000);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("a late call fails at its deadline, its hook is cancelled, and the sandbox is asked for a sign of life", async () => {
  const { channel, said, advance, call } = setUp();
  const { result, id } = call();
  advance(980);
  assert.equal(channel.sent.length, 1);
  advance(60);
  assert.equal((await result).error?.type, "plugin_timeout");
  assert.deepEqual(channel.sent.slice(1), [[CANCEL, id], [PING, 1]]);
  assert.deepEqual(said, ["late 1"]);
  channel.onMessage([PONG, 1]);
  advance(1000);
  assert.deepEqual(said, ["late 1"]);
});

Deno.test("a sandbox that gives no sign of life is reported, and all its calls fail", async () => {
  const { channel, said, advance, call } = setUp();
  const first = call();
  advance(900);
  const second = call();
  advance(700);
  assert.equal((await first.result).error?.type, "plugin_timeout");
  assert.equal((await second.result).error?.type, "plugin_unavailable");
  assert.match(said[1]!, /^foul: it did not answer/);
  assert.equal(channel.open, false);
  assert.equal((await call().result).error?.type, "plugin_unavailable");
});

Deno.test("many calls that are late at once count as one round; an answer begins the count anew", async () => {
  const { channel, said, advance, call } = setUp();
  const all = [call(), call(), call()];
  advance(1050);
  for (const one of all) assert.equal((await one.result).error?.type, "plugin_timeout");
  channel.onMessage([PONG, 1]);
  const next = call();
  channel.onMessage([DONE, next.id, null, undefined]);
  await next.result;
  const late = call();
  advance(1050);
  await late.result;
  assert.deepEqual(said.slice(0, 2), ["late 1", "late 1"]);
});

Deno.test("reading a slow body does not count against the deadline", async () => {
  const { channel, advance, call } = setUp();
  const body = Promise.withResolvers<Uint8Array>();
  const { result, id } = call("requestFilter", { body: body.promise });
  advance(500);
  channel.onMessage([READ_BODY, id, 100]);
  channel.onMessage([READ_BODY, id, 100]);
  advance(5000);
  body.resolve(new Uint8Array([1, 2]));
  while (!channel.sent.some((one) => one[0] === BODY)) await Promise.resolve();
  assert.deepEqual(channel.sent.at(-1), [BODY, id, new Uint8Array([1, 2]), ""]);
  advance(300);
  channel.onMessage([DONE, id, null, undefined]);
  assert.equal((await result).error, null);
});

Deno.test("a body cannot be read in a phase that has none", () => {
  const { channel, link, call } = setUp();
  const { id, session } = call("upstreamRequestFilter");
  channel.onMessage([READ_BODY, id, 100]);
  assert.deepEqual(session.bodyLimits, []);
  assert.equal(link.ignored, 1);
});

Deno.test("a hook that takes its time is told when its request goes away", () => {
  const { channel, advance, call } = setUp();
  const controller = new AbortController();
  const { id } = call("requestFilter", { signal: controller.signal });
  advance(200);
  controller.abort();
  assert.deepEqual(channel.sent.at(-1), [CANCEL, id]);
});

Deno.test("a retired link waits for its last answer and then says so", async () => {
  const { channel, link, said, call } = setUp();
  const { result, id } = call();
  link.retire();
  assert.equal(link.open, false);
  assert.deepEqual(said, []);
  channel.onMessage([DONE, id, null, undefined]);
  await result;
  assert.deepEqual(said, ["drained"]);
});

Deno.test("a sandbox that floods with answers to nothing is given up", () => {
  const { channel, said } = setUp();
  for (let i = 0; i < 10_000; i++) channel.onMessage([DONE, i, null, undefined]);
  assert.match(said[0]!, /^foul: it sent 10000 answers to nothing/);
});
