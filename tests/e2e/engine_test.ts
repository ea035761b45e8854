/** Listeners of engines `handle` and `epoll`: on the socket that the main thread holds, or beside it. */
import assert from "node:assert/strict";
import { libcAvailable } from "../../src/transport/libc.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { openDescriptors } from "../support/descriptors.ts";
import { field, readResponse, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { reload } from "../support/reload.ts";
import { pattern, startSimpleOrigin } from "../support/simple_origin.ts";
import { runSluice, SluiceStartError, startSluice } from "../support/sluice.ts";
import { SOCKET_ENGINES } from "../support/socket_engines.ts";

const WHO = `import { definePlugin } from "@sluice/plugin";
const id = crypto.randomUUID();
export default definePlugin({
  connectionFilter: ({ address }) => address !== "127.0.0.9",
  requestFilter(session) {
    const { path } = session.request;
    if (path === "/end") self.close();
    if (path === "/who") return session.respond(200, id);
  },
});
`;
/** In a sandbox: what takes its time is as good as what answers at once. */
const SANDBOXED = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  async requestFilter(session) {
    const wait = session.request.headers.get("x-wait");
    if (wait !== null) await new Promise((resolve) => setTimeout(resolve, Number(wait)));
    session.upstreamRequest.headers.set("x-seen", "yes");
  },
  responseFilter(session) {
    session.response.headers.set("x-hooked", session.request.path);
  },
});
`;
/** All but ffi. */
const RIGHTS = ["net", "read", "write", "env", "sys", "run", "import"].map((one) =>
  `--allow-${one}`
);
const ignore = !handleEngineAvailable();
const EPOLL_OR_DENO = libcAvailable() ? "epoll" : "deno";

function start(origin: string, listener: Readonly<Record<string, unknown>>, threads = 2) {
  return startSluice({
    config: configFile({
      origin,
      listener,
      plugins: { isolation: { who: "inline" }, trust: ["who"] },
    }),
    plugins: { "who.ts": WHO },
    threads,
  });
}

for (const engine of SOCKET_ENGINES.filter((one) => one !== "deno")) {
  Deno.test(`engine ${engine}: all workers serve one port, one that ends is replaced, and hooks say who comes in`, async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await start(origin.address, { engine });
    const port = sluice.port();
    const who = async () => text(await rawRequest(port, get("/who")));
    const seen = new Set<string>();
    await eventually(async () => {
      for (const id of await Promise.all(Array.from({ length: 16 }, who))) seen.add(id);
      return seen.size === 2;
    }, "an answer of either worker");
    assert.equal(field(await rawRequest(port, get("/bytes/100000")), "content-length"), "100000");

    await using stranger = await RawClient.connect({ port, from: "127.0.0.9" });
    await stranger.send(get("/bytes/1"));
    await stranger.whenEnded();
    assert.equal(stranger.received, "");

    await using victim = await RawClient.connect(port);
    const dead = text(await victim.request(get("/who")));
    await victim.send(get("/end"));
    await sluice.waitForOutput(/Worker \d of service main serves again/, 30_000);
    const alive = new Set<string>();
    await eventually(async () => {
      alive.add(await who());
      return alive.size === 2;
    }, "two workers");
    assert.equal(alive.has(dead), false);
  });

  Deno.test(`engine ${engine}: large answers come whole over kept connections, to quick readers and slow ones`, async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await start(origin.address, { engine });
    const port = sluice.port();
    const wanted = pattern(3_000_000);
    const whole = async (path: string) => {
      const answer = await rawRequest(port, get(path), "GET", 30_000);
      assert.ok(text(answer) === wanted, path);
    };
    for (let round = 0; round < 3; round++) {
      await Promise.all([whole("/bytes/3000000"), whole("/chunked/3000000")]);
      await using slow = await RawClient.connect(port);
      await slow.send(get("/bytes/3000000"));
      // What nobody reads fills the sockets, and reading from the upstream stops and goes on.
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(text(await readResponse(slow, "GET", 30_000)) === wanted);
    }
  });
}

for (const engine of SOCKET_ENGINES) {
  Deno.test(`engine ${engine}: hooks in a sandbox are heard, whether the thread is busy or has slept`, async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({ origin: origin.address, listener: { engine }, plugins: {} }),
      plugins: { "seen.ts": SANDBOXED },
      threads: 1,
    });
    const port = sluice.port();
    const hooked = async (client: RawClient, path: string, wait: number) => {
      const answer = await client.request(get(path, wait === 0 ? {} : { "x-wait": `${wait}` }));
      assert.equal(answer.status, 200);
      assert.equal(field(answer, "x-hooked"), path);
    };
    // Many at once, some of which leave the thread with nothing else to do.
    await Promise.all(Array.from({ length: 24 }, async (_, i) => {
      await using client = await RawClient.connect(port);
      for (let j = 0; j < 20; j++) {
        await hooked(client, `/bytes/${i * 20 + j}`, (i + j) % 8 ? 0 : 3);
      }
    }));
    // One hook that answers when the thread has long gone to sleep.
    await using client = await RawClient.connect(port);
    await hooked(client, "/bytes/1", 800);
    await hooked(client, "/bytes/2", 0);
  });
}

Deno.test({
  name: "engine handle: a port that somebody listens on is told at the start, not shared with him",
  ignore,
  async fn() {
    await using origin = await startSimpleOrigin();
    await using first = await start(origin.address, { engine: "handle" });
    const address = `127.0.0.1:${first.port()}`;
    await assert.rejects(start(origin.address, { engine: "handle", address }), (error) => {
      assert.ok(error instanceof SluiceStartError);
      assert.match(error.message, /cannot listen on 127\.0\.0\.1:\d+/);
      return true;
    });
    assert.equal((await rawRequest(first.port(), get("/bytes/1"))).status, 200);
  },
});

Deno.test({
  name:
    "without the right ffi handles have queues of their own: check and the start warn of it, and a reload that would change the engine says what to do",
  ignore,
  async fn() {
    await using origin = await startSimpleOrigin();
    const config = (engine: string) => configFile({ origin: origin.address, listener: { engine } });
    const options = { config: config("handle"), rights: RIGHTS };
    const { stdout } = await runSluice((at) => ["check", "-c", `${at}/sluice.yaml`], options);
    assert.match(stdout, /Listener web\n {2}warning +without --allow-ffi each worker has/);
    await using sluice = await startSluice(options);
    await sluice.waitForOutput(/WARN.*Engine handle on 127\.0\.0\.1:\d+: without the right ffi/);
    assert.equal(await reload(sluice, config("deno")), false);
    await sluice.waitForOutput(
      /Listener "web" cannot change to engine deno on .* while it serves: that needs Linux and --allow-ffi\. Restart/,
    );
    assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
    assert.equal(await sluice.stop(), 0);
  },
});

Deno.test("engine auto, the default, falls back where the others cannot serve, or could lose who waits for them", async () => {
  await using origin = await startSimpleOrigin();
  const config = configFile({ origin: origin.address });
  for (const [rights, engine] of [[["-A"], EPOLL_OR_DENO], [RIGHTS, "deno"]] as const) {
    const dump = await runSluice((at) => ["config", "dump", "-c", `${at}/sluice.yaml`], {
      config,
      rights,
    });
    assert.equal(JSON.parse(dump.stdout).listeners[0].engine, engine);
  }
  await using sluice = await start(origin.address, { address: "localhost:0" });
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
});

Deno.test("engine epoll: a worker that ends leaves no connection and no descriptor behind", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await start(origin.address, { engine: "epoll" }, 1);
  const port = sluice.port();
  // Both sides of a response that is on its way, and connections that are idle.
  await using victim = await RawClient.connect(port);
  await victim.request(get("/who"));
  const before = openDescriptors(sluice.pid);
  await using busy = await RawClient.connect(port);
  await busy.send(get("/bytes/30000000"));
  await victim.send(get("/end"));
  await victim.whenEnded();
  await sluice.waitForOutput(/Worker \d of service main serves again/, 30_000);
  await busy.whenEnded();
  await eventually(() => openDescriptors(sluice.pid) <= before, "the descriptors to be closed");
  assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
});

Deno.test("engine epoll: connections that come one by one are dealt out to all workers", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await start(origin.address, { engine: "epoll" });
  await using stack = new AsyncDisposableStack();
  const dealt = new Map<string, number>();
  for (let i = 0; i < 16; i++) {
    const client = stack.use(await RawClient.connect(sluice.port()));
    const id = text(await client.request(get("/who")));
    dealt.set(id, (dealt.get(id) ?? 0) + 1);
  }
  assert.equal(dealt.size, 2);
  assert.ok(Math.min(...dealt.values()) >= 2, [...dealt.values()].join(" and "));
});

Deno.test("engine epoll without the right ffi: engine deno serves, and check and the start say so", async () => {
  await using origin = await startSimpleOrigin();
  const config = configFile({ origin: origin.address, listener: { engine: "epoll" } });
  const options = { config, rights: RIGHTS };
  const { stdout } = await runSluice((at) => ["check", "-c", `${at}/sluice.yaml`], options);
  assert.match(stdout, /Listener web\n {2}warning +engine epoll needs Linux and --allow-ffi/);
  await using sluice = await startSluice(options);
  await sluice.waitForOutput(/WARN.*Engine epoll on 127\.0\.0\.1:\d+: it needs Linux and/);
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
});

Deno.test("engine epoll: check warns of plugins that get the right ffi with their worker", async () => {
  const config = configFile({
    origin: "127.0.0.1:9",
    listener: { engine: "epoll" },
    plugins: { isolation: { who: "inline" }, trust: ["who"] },
  });
  const { stdout } = await runSluice((at) => ["check", "-c", `${at}/sluice.yaml`], {
    config,
    plugins: { "who.ts": WHO },
  });
  assert.match(stdout, /warning +engine epoll: inline plugins \(who\) get the right ffi/);
});
