import assert from "node:assert/strict";
import { Worker as Thread } from "node:worker_threads";
import type { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { turnsOfThread } from "../../src/base/turns.ts";
import { Link } from "../../src/sandbox/link.ts";
import { shapeOf } from "../../src/sandbox/protocol.ts";
import { RING_BYTES } from "../../src/sandbox/ring.ts";
import { makeChannelMemory, RingChannel } from "../../src/sandbox/ring_channel.ts";
import { withDeadline } from "../support/deadline.ts";
import { FakeSession } from "../support/fake_session.ts";

const MOST = 32 << 20;

/** Two ends of a channel in this thread, and all that came out of them. */
class Pair implements Disposable {
  readonly memory = makeChannelMemory()!;
  readonly caller: RingChannel;
  readonly called: RingChannel;
  readonly #ports = new MessageChannel();
  /** What stands at the port of the called end. */
  readonly far = this.#ports.port2;
  readonly got: { caller: unknown[]; called: unknown[] } = { caller: [], called: [] };
  readonly closed: string[] = [];
  #wake: () => void = () => {};

  constructor(most = MOST) {
    const { port1, port2 } = this.#ports;
    const { memory } = this;
    this.caller = new RingChannel({ port: port1, memory, side: "caller", most });
    this.called = new RingChannel({ port: port2, memory, side: "called", most });
    for (const side of ["caller", "called"] as const) {
      this[side].onMessage = (message) => {
        this.got[side].push(message);
        this.#wake();
      };
      this[side].onClose = (reason, malformed) => {
        this.closed.push(`${side}: ${reason}${malformed ? " (malformed)" : ""}`);
        this.#wake();
      };
    }
  }

  /** Waits until something holds; looks whenever something has happened. */
  async until(holds: () => boolean): Promise<void> {
    const done = (async () => {
      while (!holds()) await new Promise<void>((resolve) => this.#wake = resolve);
    })();
    await withDeadline(done, 20_000, "what the other end sends");
  }

  [Symbol.dispose](): void {
    this.caller.close();
    this.called.close();
  }
}

Deno.test("messages come in order both ways, also those that were sent before the other end was looking", async () => {
  using pair = new Pair();
  const sent = Array.from({ length: 500 }, (_, i) => [i, `text ${i}`]);
  for (const message of sent) pair.caller.post(message);
  for (const message of sent) pair.called.post(message);
  await pair.until(() => pair.got.called.length === 500 && pair.got.caller.length === 500);
  assert.deepEqual(pair.got.called, sent);
  assert.deepEqual(pair.got.caller, sent);
  pair.caller.post(["later"]);
  await pair.until(() => pair.got.called.length === 501);
});

Deno.test("what is larger than the ring goes in pieces, in its place, and the sender never waits", async () => {
  using pair = new Pair();
  const large = new Uint8Array(5 * RING_BYTES + 13).map((_, i) => i * 7);
  let full = 0;
  pair.caller.onFull = () => full++;
  const began = [["first"], [large], ["last"], [large.slice(0, 1000)], ["end"]];
  for (const message of began) pair.caller.post(message);
  // One turn later as much is in the ring as goes in, and the rest is known to wait.
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.ok(full > 0);
  await pair.until(() => pair.got.called.length === 5);
  assert.deepEqual(pair.got.called, began);
  assert.equal(pair.caller.backlog, 0);
});

Deno.test("a caller that looks in each turn is not rung, until it waits; then it is", async () => {
  using pair = new Pair();
  // The first look of both is over.
  pair.caller.post(["call"]);
  await pair.until(() => pair.got.called.length === 1);
  try {
    turnsOfThread.coming = true;
    pair.caller.post(["another"]);
    await pair.until(() => pair.got.called.length === 2);
    pair.called.post(["answer"]);
    // A ring of its own comes behind one of the channel, if there was one.
    const { port1, port2 } = new MessageChannel();
    const later = new Promise((resolve) => port2.onmessage = resolve);
    await new Promise((resolve) => setTimeout(resolve, 0));
    port1.postMessage(null);
    await later;
    port1.close();
    assert.deepEqual(pair.got.caller, []);
    assert.equal(turnsOfThread.mayWait(), false, "it would wait although something has come");
    assert.equal(turnsOfThread.look(), true);
    assert.deepEqual(pair.got.caller, [["answer"]]);
    assert.equal(turnsOfThread.look(), false);
    assert.equal(turnsOfThread.mayWait(), true);
    pair.called.post(["woken"]);
    await pair.until(() => pair.got.caller.length === 2);
    pair.caller.close();
    assert.equal(turnsOfThread.look(), false);
  } finally {
    turnsOfThread.coming = false;
  }
});

Deno.test("an end that is closed says so to the other; a sandbox has no reason to", async () => {
  {
    using pair = new Pair();
    pair.caller.post(["last words"]);
    pair.caller.close();
    await pair.until(() => pair.closed.length > 0);
    assert.deepEqual(pair.closed, ["called: it closed the line"]);
    assert.equal(pair.called.open, false);
  }
  using pair = new Pair();
  pair.called.close();
  await pair.until(() => pair.closed.length > 0);
  assert.deepEqual(pair.closed, ["caller: it closed the line (malformed)"]);
});

Deno.test("a caller whose thread was ended is missed, so that its memory is not kept", async () => {
  const { port1, port2 } = new MessageChannel();
  const called = new Thread(new URL("./fixtures/called_end.ts", import.meta.url), {
    workerData: { port: port2, memory: makeChannelMemory() },
    transferList: [port2 as never],
  });
  const source = `self.onmessage = ({ data }) => {
    self.kept = data;
    data.onmessage = () => {};
    self.postMessage("there");
  };`;
  const caller = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, {
    type: "module",
  });
  try {
    const there = new Promise((resolve) => caller.onmessage = resolve);
    caller.postMessage(port1, [port1]);
    await there;
    const closed = new Promise((resolve) => called.once("message", resolve));
    caller.terminate();
    assert.equal(await withDeadline(closed, 20_000, "the channel to close"), "the caller is gone");
  } finally {
    await called.terminate();
  }
});

Deno.test("positions that cannot be end the channel, and nothing else", async () => {
  using pair = new Pair();
  await new Promise((resolve) => setTimeout(resolve, 5));
  // The second ring is the one that the caller reads.
  const words = new Int32Array(pair.memory, pair.memory.byteLength / 2, 1);
  words[0] = words[0]! + RING_BYTES;
  pair.far.postMessage(0);
  await pair.until(() => pair.closed.length > 0);
  assert.deepEqual(pair.closed, ["caller: the position of its writer cannot be (malformed)"]);
});

Deno.test("bytes that are no frame end the channel", async () => {
  using pair = new Pair(1 << 20);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const words = new Int32Array(pair.memory, pair.memory.byteLength / 2, 60);
  words.fill(0x01010101, 48);
  words[0] = words[0]! + 8;
  pair.far.postMessage(0);
  await pair.until(() => pair.closed.length > 0);
  assert.match(pair.closed[0]!, /^caller: a frame of 16843009 bytes is too long/);
  assert.match(pair.closed[0]!, /\(malformed\)$/);
});

Deno.test("ringing without sending ends the channel after a while", async () => {
  using pair = new Pair();
  for (let i = 0; i < 10_001; i++) pair.far.postMessage(0);
  await pair.until(() => pair.closed.length > 0);
  assert.deepEqual(pair.closed, ["caller: it rings without an end (malformed)"]);
});

Deno.test("a sandbox that takes nothing makes calls wait, and then be refused; the caller never waits", async () => {
  const { port1: port } = new MessageChannel();
  const memory = makeChannelMemory()!;
  const channel = new RingChannel({ port, memory, side: "caller", most: MOST });
  const timers = new TimerWheel();
  let full = 0;
  const link = new Link("deaf", channel, timers, 500, {
    late() {},
    foul() {},
    full: () => full++,
    drained() {},
  });
  const chunk = new Uint8Array(1 << 20);
  const outcomes: string[] = [];
  for (let i = 0; i < 40; i++) {
    const shape = shapeOf("responseBodyFilter");
    link.call(0, shape, 60_000, new FakeSession(), chunk, false)
      .catch((error: ProxyError) => outcomes.push(`${error.type}: ${error.message}`));
  }
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(full, 1);
  assert.equal(outcomes.length, 8);
  assert.match(outcomes[0]!, /^plugin_unavailable: .*it does not take what is sent to it/);
  link.close("the test is over");
  timers.close();
});
