/** Pooled connections: when they are used again, and what happens when one turns out to be dead. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { response, startRawOrigin } from "../support/raw_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

// Pingora: dropped_conn_get
Deno.test("a GET on a pooled connection that died is sent again on a new one", async () => {
  await using origin = await startSimpleOrigin({ dropAfter: 1 });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 5; i++) {
    const answer = await client.request(get(`/bytes/${i + 1}`));
    assert.equal(answer.status, 200);
    assert.equal(answer.body.length, i + 1);
  }
  assert.equal(origin.raw.connections.length, 5);
  assert.deepEqual(origin.requests.map(({ target }) => target), [
    "/bytes/1",
    "/bytes/2",
    "/bytes/3",
    "/bytes/4",
    "/bytes/5",
  ]);
});

// Pingora: dropped_conn_get, the other kind of end
Deno.test("a GET is sent again when the pooled connection is reset", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send(response("one"));
    await connection.head();
    connection.reset();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 4; i++) assert.equal(text(await client.request(get("/"))), "one");
  assert.equal(origin.connections.length, 4);
});

// Pingora: dropped_conn_post_empty_body, dropped_conn_post_body, dropped_conn_post_body_over. Pingora sends
// the small ones again; here a POST that the origin may have acted on never is.
for (
  const [name, ask] of [
    ["an empty POST", request("POST", "/echo", {}, "")],
    ["a POST", request("POST", "/echo", {}, "pay 10")],
    ["a POST over the retry buffer", request("POST", "/echo", {}, "x".repeat(64 * 1024 + 1))],
    ["a PATCH", request("PATCH", "/echo", {}, "pay 10")],
  ] as const
) {
  Deno.test(`${name} on a pooled connection that died is answered 502 and never sent again`, async () => {
    await using origin = await startSimpleOrigin({ dropAfter: 1 });
    await using sluice = await startSluice({ upstream: origin.url });
    await using client = await RawClient.connect(sluice.port());
    assert.equal((await client.request(get("/bytes/1"))).status, 200);
    const answer = await client.request(ask);
    assert.equal(answer.status, 502);
    assert.match(field(answer, "proxy-status")!, /error=connection_terminated/);
    const verb = ask.slice(0, ask.indexOf(" "));
    assert.equal(origin.raw.received.split(`${verb} /echo`).length - 1, 1);
    assert.equal(origin.raw.connections.length, 1);
  });
}

Deno.test("a PUT with content is sent again whole, because it is idempotent", async () => {
  await using origin = await startSimpleOrigin({ dropAfter: 1 });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  assert.equal((await client.request(get("/bytes/1"))).status, 200);
  const answer = await client.request(request("PUT", "/echo", {}, "the whole content"));
  assert.equal(answer.status, 200);
  assert.equal(text(answer), "the whole content");
});

Deno.test("a GET is not sent again when the connection was new", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  const answer = await rawRequest(sluice.port(), get("/drop"));
  assert.equal(answer.status, 502);
  assert.equal(origin.count("/drop"), 1);
});

Deno.test("a GET is not sent again once a byte of its response has come", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send(response("one"));
    await connection.request();
    await connection.send("HTTP/1.1 2");
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  assert.equal(text(await client.request(get("/"))), "one");
  assert.equal((await client.request(get("/"))).status, 502);
  assert.equal(origin.connections.length, 1);
});

Deno.test("a connection that the origin closes while idle is never chosen", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  assert.equal((await client.request(get("/bytes/1"))).status, 200);
  const [first] = origin.raw.connections;
  first!.end();
  // The proxy closes its end as soon as it has seen that.
  await first!.whenEnded();
  // A POST would fail on it, because it is never sent again.
  assert.equal((await client.request(request("POST", "/echo", {}, "x"))).status, 200);
  assert.equal(origin.raw.connections.length, 2);
});

Deno.test("bytes behind a complete response poison nobody: that connection is closed", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send(response("mine") + response("poison", { "X-Poison": "1" }));
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 3; i++) {
    const answer = await client.request(get("/"));
    assert.equal(text(answer), "mine");
    assert.equal(field(answer, "x-poison"), null);
  }
  assert.equal(origin.connections.length, 3);
});

Deno.test("bytes that come while a connection is idle close it", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send(response("mine"));
    if (connection.index > 0) return;
    await connection.fill().catch(() => false);
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  assert.equal(text(await client.request(get("/"))), "mine");
  const [first] = origin.connections;
  await first!.send(response("poison"));
  await eventually(() => first!.ended !== null, "the proxy to close the connection");
  assert.equal(text(await client.request(get("/"))), "mine");
  assert.equal(origin.connections.length, 2);
});

Deno.test("a connection is not used again after Connection: close or an unknown end", async () => {
  await using origin = await startSimpleOrigin({
    handler: ({ target }) =>
      target === "/close"
        ? "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"
        : "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  for (const path of ["/close", "/close", "/old", "/old"]) {
    assert.equal(text(await client.request(get(path))), "a");
  }
  assert.equal(origin.raw.connections.length, 4);
});

Deno.test("with an idle timeout of 0 no connection is used again", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, transport: { keepalive: { idle_timeout: 0 } } }),
  });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 3; i++) await client.request(get("/bytes/1"));
  assert.equal(origin.raw.connections.length, 3);
});

Deno.test("an idle connection is closed when its time is over", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: { keepalive: { idle_timeout: "200ms" } },
    }),
  });
  await rawRequest(sluice.port(), get("/bytes/1"));
  await eventually(() => origin.raw.connections[0]!.ended !== null, "the idle connection to end");
  assert.equal(origin.raw.connections[0]!.ended, "fin");
});

Deno.test("max_connections makes requests wait for their turn, and pending_timeout ends the wait", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: { max_connections: 1, max_pending: 8, pending_timeout: "30s" },
    }),
  });
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => rawRequest(sluice.port(), get("/delay/50"))),
  );
  assert.deepEqual(answers.map(({ status }) => status), Array(6).fill(200));
  assert.equal(origin.raw.connections.length, 1);
});

Deno.test("over max_pending a request is refused with 503 at once", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      transport: { max_connections: 1, max_pending: 1 },
    }),
  });
  const running = rawRequest(sluice.port(), get("/delay/4000"));
  await eventually(() => origin.count("/delay/4000") === 1, "the first request");
  const waiting = rawRequest(sluice.port(), get("/bytes/1"));
  const answers = await Promise.all(
    Array.from({ length: 3 }, () => rawRequest(sluice.port(), get("/bytes/1"))),
  );
  const refused = answers.filter(({ status }) => status === 503);
  assert.ok(refused.length >= 2, `${answers.map(({ status }) => status)}`);
  for (const answer of refused) {
    assert.match(field(answer, "proxy-status")!, /error=connection_limit_reached/);
    assert.notEqual(field(answer, "retry-after"), null);
  }
  assert.equal((await running).status, 200);
  assert.ok([200, 503].includes((await waiting).status));
});
