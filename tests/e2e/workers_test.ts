/** Several service workers: they share the load, and one that dies is replaced while the others serve. */
import assert from "node:assert/strict";
import { Authority } from "../support/authority.ts";
import { configFile } from "../support/config.ts";
import { eventually, withDeadline } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { metricsUntil } from "../support/metrics.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { testWith } from "../support/require.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { EchoSocket } from "../support/web_socket.ts";
import { bytes } from "../support/wire.ts";

/** Runs inside of the service worker, and so tells which one it is and can take it down. */
const INLINE = `import { definePlugin } from "@sluice/plugin";
const id = crypto.randomUUID();
export default definePlugin({
  requestFilter(session) {
    const { path } = session.request;
    if (path === "/hang") for (;;);
    if (path === "/end") self.close();
    if (path === "/throw") setTimeout(() => { throw new Error("outside of any request", { cause: new Error("the root of it") }); }, 1);
    if (path === "/who") return session.respond(200, id);
  },
});
`;

Deno.test("two workers share one port, and both get connections", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      plugins: { isolation: { who: "inline" }, trust: ["who"] },
    }),
    plugins: { "who.ts": INLINE },
    threads: 2,
  });
  const seen = new Set<string>();
  await eventually(async () => {
    const answers = await Promise.all(
      Array.from({ length: 16 }, () => rawRequest(sluice.port(), get("/who"))),
    );
    for (const answer of answers) seen.add(text(answer));
    return seen.size === 2;
  }, "an answer of either worker");
});

Deno.test("an error thrown outside of any request is logged, and the worker goes on", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      plugins: { isolation: { who: "inline" }, trust: ["who"] },
      top: { telemetry: { metrics: { listen: "127.0.0.1:0" } } },
    }),
    plugins: { "who.ts": INLINE },
  });
  const before = text(await rawRequest(sluice.port(), get("/who")));
  await rawRequest(sluice.port(), get("/throw"));
  await sluice.waitForOutput(/outside of any request[^]*the root of it/);
  const metrics = Number((await sluice.waitForOutput(/metrics\s+127\.0\.0\.1:(\d+)/))[1]);
  await metricsUntil(
    metrics,
    (now) => now.get('sluice_unhandled_errors_total{thread="service"}') === 1,
    "the error to be counted",
  );
  assert.equal(text(await rawRequest(sluice.port(), get("/who"))), before);
});

Deno.test("a worker that ends is replaced, and requests are served all the while by the other", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      plugins: { isolation: { who: "inline" }, trust: ["who"] },
    }),
    plugins: { "who.ts": INLINE },
    threads: 2,
  });
  const port = sluice.port();
  await using victim = await RawClient.connect(port);
  const dead = text(await victim.request(get("/who")));
  await victim.send(get("/end"));
  await sluice.waitForOutput(/Worker \d of service main died/, 40_000);
  await sluice.waitForOutput(/Worker \d of service main serves again/, 40_000);
  const alive = new Set<string>();
  await eventually(async () => {
    alive.add(text(await rawRequest(port, get("/who"))));
    return alive.size === 2;
  }, "two workers");
  assert.equal(alive.has(dead), false);
  assert.equal(field(await rawRequest(port, get("/bytes/1")), "content-length"), "1");
});

Deno.test("a worker that ends itself is noticed at once, and not for its silence", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      server: { heartbeat_timeout: "60s" },
      plugins: { isolation: { who: "inline" }, trust: ["who"] },
    }),
    plugins: { "who.ts": INLINE },
  });
  // One that is idle, one with a request, and the one that ends it.
  await using idle = await RawClient.connect(sluice.port());
  await idle.request(get("/bytes/1"));
  await using socket = await EchoSocket.open(sluice.port());
  await using victim = await RawClient.connect(sluice.port());
  await victim.send(get("/end"));
  await Promise.all([idle.whenEnded(), socket.whenEnded()]);
  await sluice.waitForOutput(
    /Worker 0 of service main died: it ended itself; .* connections=3 requests=2\n/,
  );
  await sluice.waitForOutput(/serves again/, 40_000);
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
});

Deno.test("threads that hang are replaced after heartbeat_timeout, and from the second on an upgrade is offered", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      server: { heartbeat_timeout: "3s" },
      plugins: { isolation: { who: "inline" }, trust: ["who"] },
    }),
    plugins: { "who.ts": INLINE },
  });
  for (let i = 1; i <= 2; i++) {
    await using victim = await RawClient.connect(sluice.port());
    await victim.send(get("/hang"));
    await sluice.waitForOutput(new RegExp(`serves again restarts=${i}`), 30_000);
  }
  await sluice.waitForOutput(/died: it was silent for \d+(\.\d)? s/);
  await sluice.waitForOutput(/2 threads of service main hang.*"sluice upgrade"/);
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
});

Deno.test("a machine that stands still for longer than heartbeat_timeout costs no worker", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, server: { heartbeat_timeout: "2s" } }),
    threads: 2,
  });
  await using client = await RawClient.connect(sluice.port());
  assert.equal((await client.request(get("/bytes/1"))).status, 200);
  for (let i = 0; i < 2; i++) {
    sluice.signal("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    sluice.signal("SIGCONT");
    // Heartbeats are looked at every second.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
  }
  assert.equal((await client.request(get("/bytes/1"))).status, 200);
  assert.doesNotMatch(sluice.stderr(), / died/);
});

testWith(
  ["openssl"],
  "clients that come while the only worker is replaced wait for the next, in clear text and with either TLS engine",
  async () => {
    await using origin = await startSimpleOrigin();
    using authority = new Authority();
    const signed = authority.sign("127.0.0.1");
    const tls = { certificates: [{ cert: "cert.pem", key: "key.pem" }] };
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        plugins: { isolation: { who: "inline" }, trust: ["who"] },
        top: {
          listeners: [
            { name: "web", address: "127.0.0.1:0" },
            { name: "native", address: "127.0.0.1:0", tls },
            { name: "node", address: "127.0.0.1:0", tls: { ...tls, min_version: "1.3" } },
          ],
        },
      }),
      files: { "cert.pem": signed.cert, "key.pem": signed.key },
      plugins: { "who.ts": INLINE },
    });
    await sluice.waitForOutput(/Listener native: TLS engine native/);
    await sluice.waitForOutput(/Listener node: TLS engine node/);
    const ask = async (name: string): Promise<string> => {
      const options = { hostname: "127.0.0.1", port: sluice.port(name) };
      using connection = name === "web"
        ? await Deno.connect(options)
        : await Deno.connectTls({ ...options, caCerts: [authority.ca] });
      await connection.write(bytes(get("/bytes/1", { Host: "127.0.0.1", Connection: "close" })));
      return await new Response(connection.readable).text();
    };
    await using victim = await RawClient.connect(sluice.port("web"));
    await victim.send(get("/end"));
    // From here on nobody accepts.
    await sluice.waitForOutput(/Worker 0 of service main died/);
    const waiting = ["web", "native", "node"].flatMap((name) =>
      Array.from({ length: 10 }, () => ask(name))
    );
    for (const answer of await withDeadline(Promise.all(waiting), 30_000, "all answers")) {
      assert.match(answer, /^HTTP\/1\.1 200 /);
    }
    await sluice.waitForOutput(/Worker 0 of service main serves again/);
  },
);
