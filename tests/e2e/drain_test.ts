/** The end of the program: what runs is finished, nothing new is taken, and it is gone as soon as it can be. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { writeConfig, writePlugin } from "../support/reload.ts";
import { testWith } from "../support/require.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { EchoSocket } from "../support/web_socket.ts";

async function refuses(port: number): Promise<boolean> {
  try {
    await using client = await RawClient.connect(port);
    await client.send(get("/bytes/1"));
    return !await client.fill();
  } catch {
    return true;
  }
}

/** Begins an answer, and leaves it at that. */
function startHaltingOrigin() {
  return startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
    await connection.whenEnded();
  });
}

Deno.test("a response that is under way at SIGTERM says Connection: close", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/delay/4000"));
  await eventually(() => origin.count("/delay/4000") === 1, "the request at the origin");
  sluice.signal("SIGTERM");
  const answer = await client.response();
  assert.equal(answer.status, 200);
  assert.equal(text(answer), "late");
  assert.equal(field(answer, "connection"), "close");
  assert.equal(await client.whenEnded(), "fin");
  assert.equal(await sluice.exited, 0);
});

Deno.test("the grace period cuts what does not end", async () => {
  await using origin = await startHaltingOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, server: { grace_period: "700ms" } }),
  });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await client.takeUntil("first");
  const start = performance.now();
  sluice.signal("SIGTERM");
  await client.whenEnded();
  assert.equal(await sluice.exited, 0);
  const took = performance.now() - start;
  // Without an end of the grace period it would take the minute for which an origin may be silent.
  assert.ok(took > 500 && took < 40_000, `${took} ms`);
  const lines = sluice.accessLog();
  assert.equal(lines.length, 1);
});

Deno.test("a machine that stands still while the program drains loses no line of the log", async () => {
  await using origin = await startHaltingOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, server: { grace_period: "500ms" } }),
  });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await client.takeUntil("first");
  sluice.signal("SIGTERM");
  await sluice.waitForOutput(/Draining/);
  sluice.signal("SIGSTOP");
  // Longer than the grace period and all that is added to it.
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  sluice.signal("SIGCONT");
  assert.equal(await sluice.exited, 0);
  assert.equal(sluice.accessLog().length, 1);
});

for (const isolation of ["worker", "process"]) {
  Deno.test(`a reload that waits for a plugin (${isolation}) keeps nobody from stopping the program`, async () => {
    await using origin = await startSimpleOrigin();
    const slow = `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  setup: () => { console.log("is being set up"); return new Promise(() => {}); },
  requestFilter() {},
});
`;
    await using sluice = await startSluice({ config: configFile({ origin: origin.address }) });
    await using client = await RawClient.connect(sluice.port());
    await client.send(get("/delay/2000"));
    await eventually(() => origin.count("/delay/2000") === 1, "the request at the origin");
    Deno.mkdirSync(`${sluice.directory}/plugins`, { recursive: true });
    writePlugin(sluice, "slow.ts", slow);
    writeConfig(
      sluice,
      configFile({ origin: origin.address, plugins: { isolation: { slow: isolation } } }),
    );
    sluice.signal("SIGHUP");
    await sluice.waitForOutput(/is being set up/, 30_000);
    const start = performance.now();
    sluice.signal("SIGTERM");
    assert.equal(text(await client.response()), "late");
    assert.equal(await sluice.exited, 0);
    const took = performance.now() - start;
    // A plugin may take a minute to load.
    assert.ok(took < 30_000, `${took} ms`);
    assert.match(sluice.stderr(), /refused; generation 1 goes on[^]*the program is stopping/);
  });
}

Deno.test("a stop under load loses no answer: each request is answered whole or never accepted", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url, threads: 2 });
  const port = sluice.port();
  let answered = 0;
  let broken = 0;
  const load = async () => {
    for (;;) {
      let client: RawClient;
      try {
        client = await RawClient.connect(port);
      } catch {
        return;
      }
      try {
        await client.send(get("/bytes/1000", { Connection: "close" }));
        // A connection that waited to be accepted when the listener closed is not one that was served.
        if (!await client.fill()) {
          if (await isGone(sluice)) return;
          continue;
        }
        const answer = await client.response();
        if (answer.status === 200 && answer.body.length === 1000) answered++;
        else broken++;
      } catch {
        broken++;
      } finally {
        await client[Symbol.asyncDispose]();
      }
    }
  };
  const running = Array.from({ length: 8 }, load);
  await eventually(() => answered > 200, "some answers");
  assert.equal(await sluice.stop(), 0);
  await Promise.all(running);
  assert.equal(broken, 0);
  // Whatever was passed on was answered to the end, too.
  assert.equal(origin.requests.length, answered);
});

async function isGone(sluice: Sluice): Promise<boolean> {
  return await Promise.race([sluice.exited.then(() => true), Promise.resolve(false)]);
}

Deno.test("the program can be started again on the port it has just left", async () => {
  await using origin = await startSimpleOrigin();
  let port = 0;
  for (let i = 0; i < 2; i++) {
    await using sluice = await startSluice({
      upstream: origin.url,
      listen: `127.0.0.1:${port}`,
    });
    port = sluice.port();
    assert.equal((await rawRequest(port, get("/bytes/1"))).status, 200);
    assert.equal(await sluice.stop(), 0);
  }
});

Deno.test("a WebSocket goes on while the program drains, and the program ends right after it", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, server: { grace_period: "60s" } }),
  });
  await using socket = await EchoSocket.open(sluice.port());
  sluice.signal("SIGTERM");
  await sluice.waitForOutput(/Draining/);
  await eventually(() => refuses(sluice.port()), "new connections to be refused");
  await socket.echo("still here");
  const start = performance.now();
  await socket[Symbol.asyncDispose]();
  assert.equal(await sluice.exited, 0);
  assert.ok(performance.now() - start < 40_000, "it ends long before the grace period");
});

testWith(["curl"], "a stream of HTTP/2 that is open at SIGTERM ends as it should", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      listener: { protocols: ["h1", "h2c"] },
      server: { grace_period: "60s" },
    }),
  });
  const running = new Deno.Command("curl", {
    args: [
      ...["-s", "--http2-prior-knowledge", "-w", " %{http_version} %{http_code}"],
      `${sluice.url}/delay/800`,
    ],
  }).output();
  await eventually(() => origin.count("/delay/800") === 1, "the request at the origin");
  sluice.signal("SIGTERM");
  const { success, stdout } = await running;
  assert.ok(success);
  assert.equal(new TextDecoder().decode(stdout), "late 2 200");
  assert.equal(await sluice.exited, 0);
});
