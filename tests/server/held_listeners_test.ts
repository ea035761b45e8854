/** What the main thread holds, and what becomes of descriptors that service workers are lent. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { once } from "node:events";
import type { Config } from "../../src/config/types.ts";
import { HeldListeners } from "../../src/server/held_listeners.ts";
import type { TcpAddress } from "../../src/transport/address.ts";
import { listen } from "../../src/transport/listen.ts";
import { claim, type Loan } from "../../src/transport/loan.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import { inodeOf } from "../../src/transport/socket_table.ts";
import { configOf } from "../config/support.ts";
import { configFile } from "../support/config.ts";

const ignore = !handleEngineAvailable();

async function hold(): Promise<{ held: HeldListeners; bound: TcpAddress; config: Config }> {
  const held = new HeldListeners();
  const change = await held.prepare(
    await configOf(configFile({ origin: "127.0.0.1:9", listener: { engine: "handle" } })),
  );
  change.commit();
  return {
    held,
    bound: change.config.listeners[0]!.address as TcpAddress,
    config: change.config,
  };
}

/** A worker in another thread, which takes the loan, or does not. */
async function inThread(code: string, loan: Loan): Promise<unknown> {
  const source = `self.onmessage = ({ data: { claimed } }) => {\n${code}\n};`;
  const worker = new Worker(URL.createObjectURL(new Blob([source])), { type: "module" });
  worker.postMessage(loan);
  const [{ data }] = await once(worker, "message") as [MessageEvent];
  worker.terminate();
  return data;
}

Deno.test({
  name: "a descriptor that its borrower had not used when it ended is closed",
  ignore,
  async fn() {
    const { held, bound } = await hold();
    const worker = {};
    const loan = held.lend(bound, worker)!;
    const inode = inodeOf(loan.descriptor);
    assert.notEqual(inode, null);
    held.takeBack(worker);
    assert.notEqual(inodeOf(loan.descriptor), inode);
    assert.equal(claim(loan), false, "nobody else gets it any more");
    held.close();
  },
});

Deno.test({
  name: "a descriptor that its borrower has used is left to it, in whatever thread that is",
  ignore,
  async fn() {
    const { held, bound } = await hold();
    const worker = {};
    const [used, unused] = [held.lend(bound, worker)!, held.lend(bound, worker)!];
    const inode = inodeOf(used.descriptor);
    const got = await inThread("postMessage(Atomics.compareExchange(claimed, 0, 0, 1));", used);
    assert.equal(got, 0, "the thread got it");
    held.takeBack(worker);
    assert.equal(inodeOf(used.descriptor), inode);
    assert.notEqual(inodeOf(unused.descriptor), inode);
    const listener = await listen({
      name: "late",
      address: bound,
      engine: "handle",
      // As if it had been claimed by this listener.
      loan: { descriptor: used.descriptor, claimed: new Int32Array(new SharedArrayBuffer(4)) },
      onSocket: (socket) => socket.destroy(),
      onError: (error) => assert.fail(error),
    });
    listener.close();
    held.close();
  },
});

Deno.test({
  name: "a listener whose loan was taken back does not listen, and says why",
  ignore,
  async fn() {
    const { held, bound } = await hold();
    const worker = {};
    const loan = held.lend(bound, worker)!;
    held.takeBack(worker);
    await assert.rejects(
      listen({
        name: "late",
        address: bound,
        engine: "handle",
        loan,
        onSocket: () => {},
        onError: () => {},
      }),
      /Listener "late" cannot listen on 127\.0\.0\.1:\d+: the socket that was lent for it was taken back/,
    );
    held.close();
  },
});

Deno.test({
  name: "one listener after the other accepts on the socket that is held",
  ignore,
  async fn() {
    const { held, bound } = await hold();
    const worker = {};
    const accepted = Promise.withResolvers<void>();
    for (let i = 0; i < 3; i++) {
      const listener = await listen({
        name: "again",
        address: bound,
        engine: "handle",
        loan: held.lend(bound, worker),
        onSocket(socket) {
          socket.destroy();
          accepted.resolve();
        },
        onError: (error) => assert.fail(error),
      });
      if (i < 2) listener.close();
      else {
        // The third still has the socket that all of them had.
        const client = connect(bound.port, bound.host);
        client.on("error", () => {});
        await accepted.promise;
        client.destroy();
        listener.close();
      }
    }
    held.close();
  },
});

Deno.test("a reload that is ready when the program ends lets go of what was bound for it, and of nothing twice", async () => {
  const held = new HeldListeners();
  const parts = { origin: "127.0.0.1:9" };
  const first = await held.prepare(await configOf(configFile(parts)));
  first.commit();
  const config = await configOf(configFile(parts));
  const { name: _, ...more } = config.listeners[0]!;
  const listeners = [...first.config.listeners, { ...more, name: "more" }];
  const late = await held.prepare({ ...config, listeners });
  const { port } = late.config.listeners[1]!.address as TcpAddress;
  held.close();
  late.commit();
  held.close();
  Deno.listen({ hostname: "127.0.0.1", port }).close();
});
