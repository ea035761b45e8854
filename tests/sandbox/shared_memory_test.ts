import assert from "node:assert/strict";
import { PortChannel } from "../../src/sandbox/port_channel.ts";
import { makeChannelMemory } from "../../src/sandbox/ring_channel.ts";
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
