import assert from "node:assert/strict";
import { ManualClock } from "../../src/base/clock.ts";
import { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { Output } from "../../src/http1/output.ts";
import { MemorySocket, settled } from "../support/memory_socket.ts";

/** An output whose socket takes nothing until `drain`. */
function stalledOutput(): { readonly socket: MemorySocket; readonly output: Output } {
  const socket = new MemorySocket();
  const wheel = new TimerWheel({ clock: new ManualClock() });
  const output = new Output(socket, {
    wheel,
    writeTimeout: 1_000,
    minSendRate: 0,
    onWriteTimeout() {},
  });
  socket.handler = {
    readBuffer: () => new Uint8Array(1),
    onRead() {},
    onDrain: () => output.onDrain(),
    onError() {},
  };
  socket.stalled = true;
  return { socket, output };
}

function send(output: Output, size: number): void | Promise<void> {
  output.put(new Uint8Array(size));
  output.flush();
  return output.settle();
}

Deno.test("one small message on its way holds nobody up, a second one does", async () => {
  const { socket, output } = stalledOutput();
  assert.equal(send(output, 1_000), undefined);
  assert.equal(output.waiting, true);
  const second = send(output, 1_000);
  assert.ok(second instanceof Promise);
  let done = false;
  void second.then(() => done = true);
  await settled();
  assert.equal(done, false);
  socket.drain();
  await second;
  assert.equal(socket.sent.length, 2_000);
  assert.equal(output.waiting, false);
  socket.stalled = true;
  assert.equal(send(output, 1_000), undefined);
});

Deno.test("who has lent its bytes waits until they are with the kernel, as does who sends much", async () => {
  // 8 KiB and more are written from where they are.
  for (const sizes of [[9_000], [7_000, 7_000, 7_000]]) {
    const { socket, output } = stalledOutput();
    for (const size of sizes) output.put(new Uint8Array(size));
    output.flush();
    const sent = output.settle();
    assert.ok(sent instanceof Promise, sizes.join());
    socket.drain();
    await sent;
  }
});

Deno.test("what was on its way when the connection broke is told to the next one who writes", () => {
  const { output } = stalledOutput();
  assert.equal(send(output, 10), undefined);
  const error = new ProxyError("client_closed", "gone");
  output.fail(error);
  assert.throws(() => output.settle(), (thrown) => thrown === error);
});
