/** Who waits to be accepted is not lost: not with the worker that ends, not with the process that is replaced. */
import assert from "node:assert/strict";
import type { SocketEngine } from "../../src/transport/socket.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { listeningDescriptors } from "../support/descriptors.ts";
import { upgrade } from "../support/handover.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { reload } from "../support/reload.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { SOCKET_ENGINES } from "../support/socket_engines.ts";

/** Keeps its worker from accepting for as long as the query says, and then ends it if asked to. */
const BLOCK = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  requestFilter(session) {
    const { path, query } = session.request;
    if (path !== "/block" && path !== "/die") return;
    console.error("blocks its worker");
    const end = Date.now() + Number(query.replace("?", ""));
    while (Date.now() < end);
    if (path === "/die") self.close();
    return session.respond(200, "free");
  },
});
`;
/** More than a worker accepts in one turn. */
const WAITING = 24;

function start(origin: string, engine: SocketEngine): Promise<Sluice> {
  return startSluice({ config: blocking(origin, engine), plugins: { "block.ts": BLOCK } });
}

function blocking(origin: string, engine: SocketEngine): string {
  return configFile({
    origin,
    listener: { engine },
    // Idle connections do not keep the old process for long.
    server: { grace_period: "10s" },
    plugins: { isolation: { block: "inline" }, trust: ["block"] },
  });
}

/** Connects while the only worker accepts nobody, and tells how each fares. */
async function wait(port: number): Promise<() => Promise<string[]>> {
  const waiting = await Promise.all(Array.from({ length: WAITING }, async () => {
    const client = await RawClient.connect(port);
    await client.send(get("/bytes/1", { Connection: "close" }));
    return client;
  }));
  return () =>
    Promise.all(waiting.map(async (client) => {
      try {
        return String((await client.response("GET", 30_000)).status);
      } catch (error) {
        return (error as Error).message;
      } finally {
        await client[Symbol.asyncDispose]();
      }
    }));
}

const ALL_ANSWERED = Array.from({ length: WAITING }, () => "200");

for (const engine of SOCKET_ENGINES) {
  Deno.test(`engine ${engine}: who waits for a worker that ends is served by the next one`, async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await start(origin.address, engine);
    const descriptors = listeningDescriptors(sluice.pid, sluice.port());
    await using victim = await RawClient.connect(sluice.port());
    await victim.send(get("/die?1500", { Connection: "close" }));
    await sluice.waitForOutput(/blocks its worker/);
    const fates = await wait(sluice.port());
    await sluice.waitForOutput(/Worker 0 of service main serves again/, 30_000);
    assert.deepEqual(await fates(), ALL_ANSWERED);
    assert.ok(descriptors >= 1);
    await eventually(
      () => listeningDescriptors(sluice.pid, sluice.port()) === descriptors,
      "the descriptor of the worker that ended to be closed",
    );
  });

  Deno.test(`engine ${engine}: who waits for a worker that is replaced is served`, async () => {
    await using origin = await startSimpleOrigin();
    await using other = await startSimpleOrigin();
    await using sluice = await start(origin.address, engine);
    // Other rights are needed, and so another worker.
    const after = blocking(other.address, engine);
    await using victim = await RawClient.connect(sluice.port());
    await victim.send(get("/block?3000", { Connection: "close" }));
    await sluice.waitForOutput(/blocks its worker/);
    const fates = await wait(sluice.port());
    assert.ok(await reload(sluice, after), sluice.stderr());
    assert.deepEqual(await fates(), ALL_ANSWERED);
  });

  Deno.test(`engine ${engine}: who waits when another process takes over is served`, async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await start(origin.address, engine);
    await using victim = await RawClient.connect(sluice.port());
    await victim.send(get("/block?3000", { Connection: "close" }));
    await sluice.waitForOutput(/blocks its worker/);
    const fates = await wait(sluice.port());
    await using next = await upgrade(sluice);
    assert.deepEqual(await fates(), ALL_ANSWERED);
    assert.equal(await sluice.exited, 0);
    await next.stop();
  });
}
