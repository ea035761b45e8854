/** Ports that a thread holds for others. */
import assert from "node:assert/strict";
import { watchedBy } from "../../src/transport/epoll/left_behind.ts";
import { runtimeLoop } from "../../src/transport/epoll/runtime_loop.ts";
import { epollAvailable, systemCalls } from "../../src/transport/epoll/system_calls.ts";
import { holdPort } from "../../src/transport/hold.ts";
import { bindTcp } from "../../src/transport/listen.ts";

const HOST = "127.0.0.1";

function hold() {
  return holdPort("in", { kind: "tcp", host: HOST, port: 0 }, 16);
}

/** The sockets that wake this thread. */
function heard(): number {
  return watchedBy({ descriptor: runtimeLoop(systemCalls()!)! }).length;
}

Deno.test({
  name: "a thread that holds a port is not woken by those who connect to it",
  ignore: !epollAvailable(),
  fn() {
    const before = heard();
    const held = hold();
    assert.equal(heard(), before);
    const listener = bindTcp(HOST, held.address.port, 16);
    assert.equal(heard(), before + 1, "what accepts is heard");
    const again = holdPort("in", held.address, 16);
    assert.equal(heard(), before + 2, "and stays so: it is the same socket");
    for (const one of [again, held, listener]) one.close();
    assert.equal(heard(), before);
  },
});

Deno.test("others accept on a port that is held, and it is free again when all have closed", async () => {
  const held = hold();
  const { port } = held.address;
  const early = await Deno.connect({ hostname: HOST, port });
  const listener = bindTcp(HOST, port, 16);
  const late = await Deno.connect({ hostname: HOST, port });
  for (let i = 0; i < 2; i++) (await listener.accept()).close();
  for (const one of [early, late, listener]) one.close();
  // The port is kept for who comes next.
  (await Deno.connect({ hostname: HOST, port })).close();
  held.close();
  await assert.rejects(Deno.connect({ hostname: HOST, port }), Deno.errors.ConnectionRefused);
});
