import assert from "node:assert/strict";
import { PortChannel } from "../../src/sandbox/port_channel.ts";
import { makeChannelMemory } from "../../src/sandbox/ring_channel.ts";
import { MemoryLease, SpareMemory } from "../../src/sandbox/spare_memory.ts";
import { eventually } from "../support/deadline.ts";
import { FakeSession } from "../support/fake_session.ts";
import { specOf, start } from "./support.ts";

Deno.test("a plugin that puts itself between every function and its caller sees no shared memory", async () => {
  await using bench = await start([specOf("memory_thief.ts", "worker")]);
  for (let i = 0; i < 3; i++) {
    const session = new FakeSession();
    await bench.handler().call("requestFilter", session);
    // Of memory that the plugin makes itself it sees everything, so it is looking.
    assert.match(session.upstreamRequest.headers.get("x-own")!, /new Int32Array .*Atomics\.add/);
    assert.equal(session.upstreamRequest.headers.get("x-seen"), "");
  }
});

Deno.test("a sandbox whose memory makes no sense is replaced, counted, and does no harm to others", async () => {
  const Shared = globalThis.SharedArrayBuffer;
  const made: SharedArrayBuffer[] = [];
  try {
    // The memory is made on this thread, so it can be had without asking anybody in the program.
    globalThis.SharedArrayBuffer = function (length: number) {
      const memory = new Shared(length);
      made.push(memory);
      return memory;
    } as unknown as SharedArrayBufferConstructor;
    await using bench = await start(
      [specOf("noop.ts", "worker"), specOf("memory_thief.ts", "worker")],
      { restart: { backoff: 10 } },
    );
    const call = (plugin: number) => bench.handler(plugin).call("requestFilter", new FakeSession());
    await call(0);
    await call(1);
    assert.equal(made.length, 2);
    const [memory] = made;
    // How far the sandbox has read. It says so anew only when it reads again.
    new Int32Array(memory!, 0, 17)[16] = 12345;
    await assert.rejects(async () => await call(0), /plugin "noop", requestFilter: /);
    const crash = await bench.event((event) => event.kind === "crashed");
    assert.match((crash as { message: string }).message, /the position of its reader cannot be/);
    await bench.event((event) => event.kind === "restarted");
    await eventually(() => bench.plugins.down.length === 0, "the plugin to be there again");
    assert.equal(crash.plugin, "noop");
    await call(0);
    await call(1);
  } finally {
    globalThis.SharedArrayBuffer = Shared;
  }
});

Deno.test("a plugin that is replaced again and again gets the memory that it had, as good as new", async () => {
  const Shared = globalThis.SharedArrayBuffer;
  const made: SharedArrayBuffer[] = [];
  try {
    globalThis.SharedArrayBuffer = function (length: number) {
      const memory = new Shared(length);
      made.push(memory);
      return memory;
    } as unknown as SharedArrayBufferConstructor;
    const spec = (version: number) => specOf("noop.ts", "worker", { timeout: 60_000 + version });
    await using bench = await start([spec(0)]);
    for (let version = 1; version <= 8; version++) {
      const change = await bench.host.prepare([spec(version)]);
      change.commit();
      const [slot] = change.slots;
      await bench.plugins.attached(change.slots);
      // Large enough to go around the ring.
      const session = new FakeSession({ body: new Uint8Array(300_000).fill(version) });
      for (let i = 0; i < 3; i++) {
        await bench.plugins.handler(slot!, 0).call("requestFilter", session);
      }
      await bench.host.release([slot! - 1]);
    }
    // One that serves and one that is made ready; the others wait for word from a thread, or were used again.
    assert.ok(made.length <= 4, `${made.length} pieces of memory for 9 sandboxes`);
    // What stands in memory that is used again is nothing that an earlier sandbox has left there.
    const spare = new SpareMemory();
    const memory = made[0]!;
    new Uint8Array(memory).fill(0xff);
    spare.give("noop", memory, 1);
    spare.give("noop", made[1]!, 1);
    assert.equal(spare.count("noop"), 1, "no more than that");
    assert.deepEqual(new Uint8Array(spare.take("noop")!), new Uint8Array(makeChannelMemory()!));
    spare.give("noop", memory, 1);
    assert.notEqual(spare.take("other"), memory, "what one plugin had is not for another");
    spare.keep(new Set(["other"]));
    assert.equal(spare.count("noop"), 0);
  } finally {
    globalThis.SharedArrayBuffer = Shared;
  }
});

Deno.test("memory is used again only when both threads have let go of it", () => {
  let free = 0;
  const lease = new MemoryLease("noop", makeChannelMemory()!, () => free++);
  lease.leave();
  assert.equal(free, 0);
  lease.leave();
  assert.equal(free, 1);
});

Deno.test("where threads share no memory, calls go by messages, and all is as it was", async () => {
  const shared = Object.getOwnPropertyDescriptor(globalThis, "SharedArrayBuffer")!;
  const opened: PortChannel[] = [];
  const { post } = PortChannel.prototype;
  try {
    delete (globalThis as { SharedArrayBuffer?: unknown }).SharedArrayBuffer;
    assert.equal(makeChannelMemory(), null);
    PortChannel.prototype.post = function (this: PortChannel, message) {
      opened.push(this);
      post.call(this, message);
    };
    await using bench = await start([specOf("noop.ts", "worker"), specOf("hostile.ts", "worker")]);
    const body = new Uint8Array(3_000_000).map((_, i) => i);
    const session = new FakeSession({ body });
    await bench.handler(0).call("requestFilter", session);
    assert.equal(session.upstreamRequest.headers.get("x-plugin"), "test");
    const chunk = await bench.handler(0).call("responseBodyFilter", session, body, false);
    assert.ok(chunk === undefined || chunk instanceof Uint8Array);
    const late = new FakeSession({ target: "/bomb/loop" });
    await assert.rejects(
      async () => await bench.handler(1).call("requestFilter", late),
      /plugin "hostile", requestFilter: /,
    );
    assert.ok(opened.length > 0);
  } finally {
    PortChannel.prototype.post = post;
    Object.defineProperty(globalThis, "SharedArrayBuffer", shared);
  }
});
