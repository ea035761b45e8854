/** Hedging through the program: who is asked, whose answer is taken, and what becomes of the others. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { text } from "../support/http_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { type RawOrigin, response, startRawOrigin } from "../support/raw_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { startMembers, tally } from "./upstream_support.ts";

const HEDGE = { after: "100ms" };

function start(origin: readonly string[], more: Record<string, unknown> = {}): Promise<Sluice> {
  return startSluice({
    config: configFile({ origin, route: { hedge: HEDGE, retry: { attempts: 0 }, ...more } }),
  });
}

/** An origin that takes a request and never answers. */
function startMute(): Promise<RawOrigin> {
  return startRawOrigin(async (connection) => {
    while (await connection.fill(30_000)) { /* It listens. */ }
  });
}

/** Says when the proxy has let go of the connections of an origin. */
function lettingGo(origin: RawOrigin): Promise<void> {
  return eventually(
    () => origin.connections.every(({ socket }) => socket.destroyed || socket.readableEnded),
    "the loser to be let go",
  );
}

Deno.test("a late answer has the other one asked, whose answer is taken, and the loser is let go", async () => {
  await using stack = new AsyncDisposableStack();
  const mute = stack.use(await startMute());
  const [b] = await startMembers(stack, "b");
  const sluice = stack.use(await start([mute.address, b.address]));
  const began = performance.now();
  const answer = await rawRequest(sluice.port(), get("/"));
  const took = performance.now() - began;
  assert.equal(text(answer), "b");
  assert.ok(took >= 95 && took < 20_000, `${took} ms`);
  await lettingGo(mute);
  assert.equal(b.served, 1);
  assert.match(mute.received, /^GET \/ HTTP\/1\.1\r\n/);
});

Deno.test("an answer in time has nobody else asked", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(await start([a.address, b.address], { hedge: { after: "10s" } }));
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 20), { a: 10, b: 10 });
  assert.equal(a.served + b.served, 20);
});

Deno.test("the first one wins when it answers before the one that was asked later", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  a.does.gate = eventually(() => b.served === 1, "b to be asked");
  b.does.gate = Promise.withResolvers().promise;
  const sluice = stack.use(await start([a.address, b.address]));
  assert.equal(text(await rawRequest(sluice.port(), get("/"))), "a");
  assert.equal(b.served, 1, "b was asked, in vain");
});

Deno.test("HEAD is hedged; POST and a GET with content never are", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(await start([a.address, b.address]));
  await using client = await RawClient.connect(sluice.port());
  a.does.gate = b.does.gate = eventually(() => a.served + b.served === 2, "both to be asked");
  assert.equal((await client.request(request("HEAD", "/"))).status, 200);
  assert.equal(a.served + b.served, 2);
  a.does.delay = b.does.delay = 300;
  for (const method of ["POST", "GET", "PUT"]) {
    await client.request(request(method, "/", {}, "content"));
  }
  assert.equal((await client.request(request("DELETE", "/"))).status, 200);
  assert.equal(a.served + b.served, 6);
});

Deno.test("max bounds how many others are asked", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await startMembers(stack, "a", "b", "c", "d");
  const served = () => members.reduce((sum, { served }) => sum + served, 0);
  const three = eventually(() => served() === 3, "three to be asked");
  // And then as long as it would take to ask the fourth.
  for (const { does } of members) Object.assign(does, { gate: three, delay: 400 });
  const sluice = stack.use(
    await start(members.map(({ address }) => address), { hedge: { after: "50ms", max: 2 } }),
  );
  assert.equal((await rawRequest(sluice.port(), get("/"))).status, 200);
  assert.equal(served(), 3);
});

Deno.test("one that fails leaves the other its chance, and only when all fail is there an error", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const asked = (count: number) =>
    eventually(() => a.served + b.served === count, `${count} attempts`);
  Object.assign(a.does, { gate: asked(2), drop: true });
  Object.assign(b.does, { delay: 300 });
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        origin: [a.address, b.address],
        route: { hedge: HEDGE, retry: { attempts: 0 } },
        // A pooled connection that breaks would be replaced, and all of it begin anew.
        transport: { keepalive: { idle_timeout: "0s" } },
      }),
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  assert.equal(text(await client.request(get("/"))), "b");
  a.does.gate = b.does.gate = asked(4);
  Object.assign(b.does, { delay: 0, drop: true });
  assert.equal((await client.request(get("/"))).status, 502);
  assert.equal(a.served, 2);
  assert.equal(b.served, 2);
});

Deno.test("somebody else who cannot be connected to costs nothing", async () => {
  await using stack = new AsyncDisposableStack();
  const [a] = await startMembers(stack, "a");
  a.does.delay = 300;
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        route: { upstream: "pair", hedge: HEDGE, retry: { attempts: 0 } },
        upstreams: [{
          name: "pair",
          endpoints: [a.address, { address: `127.0.0.1:${freePort()}` }],
        }],
      }),
    }),
  );
  assert.equal(text(await rawRequest(sluice.port(), get("/"))), "a");
});

Deno.test("the counts are right after hedging, won, lost and failed", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const sluice = stack.use(
    await startSluice({
      config: configFile({
        route: { upstream: "pair", hedge: { after: "30ms" }, retry: { attempts: 0 } },
        upstreams: [{
          name: "pair",
          endpoints: [a.address, b.address],
          // A single count that is never taken back would end all of this with 503.
          circuit_breaker: { max_requests: 2, error_ratio: "0%", minimum_requests: 1_000 },
        }],
      }),
    }),
  );
  await using client = await RawClient.connect(sluice.port());
  const fates = [
    { delay: 0, drop: false },
    { delay: 80, drop: false },
    { delay: 80, drop: true },
    { delay: 60, drop: true },
  ];
  for (const one of fates) {
    for (const other of fates) {
      Object.assign(a.does, one);
      Object.assign(b.does, other);
      const { status } = await client.request(get("/"));
      assert.ok(status === 200 || status === 502, `${JSON.stringify([one, other])}: ${status}`);
    }
  }
  Object.assign(a.does, fates[0]);
  Object.assign(b.does, fates[0]);
  const clients = [client, await RawClient.connect(sluice.port())];
  stack.use(clients[1]!);
  for (let i = 0; i < 10; i++) {
    const answers = await Promise.all(clients.map((one) => one.request(get("/"))));
    assert.deepEqual(answers.map(({ status }) => status), [200, 200]);
  }
});

Deno.test("a client that leaves has all of those let go that were asked", async () => {
  await using stack = new AsyncDisposableStack();
  const origins = [stack.use(await startMute()), stack.use(await startMute())];
  const sluice = stack.use(await start(origins.map(({ address }) => address)));
  const client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await origins[0]!.waitForConnections(1);
  await origins[1]!.waitForConnections(1);
  client.reset();
  for (const origin of origins) await lettingGo(origin);
});

Deno.test("the time of an attempt, and of the request, is over for all of those that were asked", async () => {
  await using stack = new AsyncDisposableStack();
  const origins = [stack.use(await startMute()), stack.use(await startMute())];
  for (
    const limit of [
      { retry: { attempts: 0, per_try_timeout: "250ms" } },
      { timeouts: { request: "250ms" } },
    ]
  ) {
    await using sluice = await start(origins.map(({ address }) => address), limit);
    const began = performance.now();
    const answer = await rawRequest(sluice.port(), get("/"));
    const took = performance.now() - began;
    assert.equal(answer.status, 504);
    assert.ok(took >= 240 && took < 20_000, `${took} ms`);
    for (const origin of origins) await lettingGo(origin);
  }
});

Deno.test("a 1xx response of somebody hedged is not passed on", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    await connection.send(response("final"));
  });
  await using sluice = await start([origin.address]);
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  assert.deepEqual((await client.responses()).map(({ status }) => status), [200]);
});
