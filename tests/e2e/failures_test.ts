/** Plugins and failures: other peers, further attempts, pages of their own, and plugins that fail themselves. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, text } from "../support/http_text.ts";
import { plugin } from "../support/plugin_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

Deno.test("failToConnect may have another peer chosen, and logging tells how often it was tried", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      upstreams: [
        { name: "dead", endpoints: [`127.0.0.1:${freePort()}`] },
        { name: "alive", endpoints: [origin.address] },
      ],
      route: { upstream: "dead", retry: { attempts: 0 } },
      plugins: {},
    }),
    plugins: {
      "failover.ts": plugin(`
        upstreamPeer(session) { return session.attempt > 1 ? "alive" : "dead"; },
        failToConnect(session, ctx, failure) {
          failure.retry = session.attempt < 2;
          session.vars.set("failover.why", failure.type);
        },
        responseFilter(session) {
          session.response.headers.set("X-Why", String(session.vars.get("failover.why")));
        },`),
    },
  });
  // The first answer is the proof that content is replayed, too: nothing was sent, so POST may be tried again.
  const answer = await rawRequest(sluice.port(), request("POST", "/echo", {}, "once"));
  assert.equal(answer.status, 200, text(answer));
  assert.equal(text(answer), "once");
  assert.equal(field(answer, "x-why"), "connect_refused");
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["upstream.attempts"], 2);
  assert.equal(line!["upstream.name"], "alive");
});

Deno.test("without a plugin a dead endpoint is passed over for the next", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: [`127.0.0.1:${freePort()}`, origin.address] }),
  });
  for (let i = 0; i < 4; i++) {
    assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
  }
  assert.equal(origin.requests.length, 4);
});

Deno.test("retries end at max_retries, whatever a plugin says", async () => {
  await using sluice = await startSluice({
    config: configFile({
      origin: `127.0.0.1:${freePort()}`,
      server: { max_retries: 3 },
      plugins: {},
    }),
    plugins: {
      "stubborn.ts": plugin(`failToConnect(_session, _ctx, failure) { failure.retry = true; },`),
    },
  });
  const answer = await rawRequest(sluice.port(), get("/"));
  assert.equal(answer.status, 502);
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["upstream.attempts"], 4);
});

Deno.test("errorWhileProxy sees a failure after the connection, and may ask for another attempt", async () => {
  await using origin = await startSimpleOrigin({
    handler: (request, connection) =>
      connection.index === 0
        ? null
        : `HTTP/1.1 200 OK\r\nContent-Length: ${request.target.length}\r\n\r\n${request.target}`,
  });
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "again.ts": plugin(`
        errorWhileProxy(session, _ctx, failure) {
          session.vars.set("again.error", failure.type + " " + failure.source);
          failure.retry = true;
        },
        responseFilter(session) {
          session.response.headers.set("X-Error", String(session.vars.get("again.error")));
        },`),
    },
  });
  const answer = await rawRequest(sluice.port(), get("/here"));
  assert.equal(answer.status, 200);
  assert.equal(text(answer), "/here");
  assert.equal(field(answer, "x-error"), "connection_closed upstream");
});

Deno.test("failToProxy sends a page of its own, and sees what went wrong", async () => {
  await using sluice = await startSluice({
    upstream: `http://127.0.0.1:${freePort()}`,
    plugins: {
      "page.ts": plugin(`
        failToProxy(session, _ctx, failure) {
          if (session.request.path === "/default") return;
          return session.respond(failure.status + 1, "sorry: " + failure.type, {
            headers: { "Retry-After": "7" },
          });
        },`),
    },
  });
  const answer = await rawRequest(sluice.port(), get("/"));
  assert.equal(answer.status, 503);
  assert.equal(text(answer), "sorry: connect_refused");
  assert.equal(field(answer, "retry-after"), "7");
  const plain = await rawRequest(sluice.port(), get("/default"));
  assert.equal(plain.status, 502);
  assert.equal(field(plain, "content-type"), "application/problem+json");
});

Deno.test("a hook that never answers fails its request at its deadline, and nobody else's", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "stuck.ts": plugin(`
        limits: { timeout: "3s" },
        onError: "fail_closed",
        requestFilter(session) {
          if (session.request.path === "/stuck") return new Promise(() => {});
        },`),
    },
  });
  const start = performance.now();
  const [stuck, ...others] = await Promise.all([
    rawRequest(sluice.port(), get("/stuck")),
    ...Array.from({ length: 20 }, () => rawRequest(sluice.port(), get("/bytes/1"))),
  ]);
  assert.equal(stuck!.status, 500);
  assert.ok(performance.now() - start < 20_000);
  assert.ok(others.every(({ status }) => status === 200));
});

Deno.test("a plugin that fails open is passed over", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "optional.ts": plugin(`
        onError: "fail_open",
        requestFilter() { throw new Error("not today"); },`),
    },
  });
  assert.equal((await rawRequest(sluice.port(), get("/bytes/1"))).status, 200);
  await sluice.waitForOutput(/Plugin optional failed in requestFilter.*not today/);
});

// Pingora: error_before_headers_sent, as HTTP/1 has it
Deno.test("a plugin that fails before the head is sent makes an error of its own", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "late.ts": plugin(`
        onError: "fail_closed",
        responseFilter() { throw new Error("before the head"); },`),
    },
  });
  const answer = await rawRequest(sluice.port(), get("/bytes/100"));
  assert.equal(answer.status, 500);
  assert.equal(field(answer, "proxy-status"), "sluice; error=proxy_internal_error");
});

// Pingora: error_after_headers_sent_rst_received, as HTTP/1 has it
Deno.test("a plugin that fails after the head was sent cuts the response", async () => {
  let next = () => {};
  const gone = new Promise<void>((resolve) => next = resolve);
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    await gone;
    await connection.send("6\r\nsecond\r\n0\r\n\r\n");
    await connection.whenEnded();
  });
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "late.ts": plugin(
        `
        onError: "fail_closed",
        responseBodyFilter() { if (++calls > 1) throw new Error("after the head"); },`,
        "let calls = 0;",
      ),
    },
  });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  assert.match(await client.takeUntil("first\r\n"), /^HTTP\/1\.1 200 OK\r\n/);
  next();
  const rest = await client.takeRest();
  assert.equal(rest.length, 0);
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["http.response.status_code"], 200);
  assert.equal(line!["proxy.error_source"], "internal");
});
