/** Failures as clients see them: status, RFC 9457 problem document, RFC 9209 Proxy-Status, and no secrets. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, type RawResponse, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

/** Asserts a problem document, and that it names no address. */
function assertProblem(answer: RawResponse, status: number, token: string | null): void {
  assert.equal(answer.status, status, answer.raw + text(answer));
  assert.equal(field(answer, "content-type"), "application/problem+json");
  assert.equal(field(answer, "cache-control"), "no-store");
  assert.equal(
    field(answer, "proxy-status"),
    token === null ? null : `sluice; error=${token}`,
  );
  const problem = JSON.parse(text(answer));
  assert.equal(problem.status, status);
  assert.match(problem.type, /^urn:sluice:problem:[a-z_]+$/);
  assert.ok(problem.title.length > 0 && problem.detail.length > 0);
  assert.match(problem.request_id, /^[0-9a-f-]{36}$/);
  assert.doesNotMatch(text(answer), /127\.0\.0\.|file:|\/src\/|\.ts\b/);
}

Deno.test("an upstream that refuses the connection is 502 connection_refused", async () => {
  await using sluice = await startSluice({ upstream: `http://127.0.0.1:${freePort()}` });
  const answer = await rawRequest(sluice.port(), get("/some/path?secret=1"));
  assertProblem(answer, 502, "connection_refused");
  assert.equal(JSON.parse(text(answer)).instance, "/some/path");
  // The log says what was asked, but queries hold tokens: what becomes of them is for the access log to decide.
  await sluice.waitForOutput(/Request failed: GET \/some\/path, Host: /);
  assert.ok(!sluice.stderr().includes("secret"), sluice.stderr());
});

Deno.test("an upstream name that does not exist is 502 dns_error", async () => {
  await using sluice = await startSluice({ upstream: "http://no-such-host.invalid:80" });
  const answer = await rawRequest(sluice.port(), get("/"), "GET", 30_000);
  assert.ok([502, 504].includes(answer.status));
  assert.match(field(answer, "proxy-status")!, /error=dns_(error|timeout)$/);
});

Deno.test("an upstream that does not accept in time is 504 connection_timeout", async () => {
  // A full accept queue drops further SYNs, so a connect gets no answer at all.
  const listener = Deno.listen(
    { hostname: "127.0.0.1", port: 0, tcpBacklog: 1 } as Deno.ListenOptions,
  );
  const { port } = listener.addr as Deno.NetAddr;
  const held = [await Deno.connect({ port }), await Deno.connect({ port })];
  try {
    await using sluice = await startSluice({
      config: configFile({ origin: `127.0.0.1:${port}`, timeouts: { connect: "500ms" } }),
    });
    const answer = await rawRequest(sluice.port(), get("/"), "GET", 30_000);
    assertProblem(answer, 504, "connection_timeout");
  } finally {
    for (const connection of held) connection.close();
    listener.close();
  }
});

Deno.test("an upstream that does not answer in time is 504 http_response_timeout", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, timeouts: { first_byte: "200ms" } }),
  });
  const answer = await rawRequest(sluice.port(), get("/delay/60000"));
  assertProblem(answer, 504, "http_response_timeout");
});

Deno.test("an upstream that falls silent inside of its head is 504", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nX-Half: ");
    await connection.whenEnded();
  });
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, timeouts: { read: "200ms", first_byte: "5s" } }),
  });
  assertProblem(await rawRequest(sluice.port(), get("/")), 504, "connection_read_timeout");
});

Deno.test("an upstream that falls silent inside of its content is cut for the client", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    await connection.whenEnded();
  });
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, timeouts: { read: "200ms" } }),
  });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await client.takeUntil("12345");
  await client.whenEnded();
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["proxy.error"], "connection_read_timeout");
});

Deno.test("an upstream that hangs up without a word is 502 connection_terminated", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  assertProblem(await rawRequest(sluice.port(), get("/drop")), 502, "connection_terminated");
});

Deno.test("an upstream that hangs up inside of its head is 502", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-");
  });
  await using sluice = await startSluice({ upstream: origin.url });
  const answer = await rawRequest(sluice.port(), get("/"));
  assert.equal(answer.status, 502);
  assert.match(
    field(answer, "proxy-status")!,
    /error=(http_response_incomplete|connection_terminated)$/,
  );
});

Deno.test("a request that no route takes is 404, without Proxy-Status", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, route: { match: { path: "/only/*" } } }),
  });
  assert.equal((await rawRequest(sluice.port(), get("/only/this"))).status, 200);
  assertProblem(await rawRequest(sluice.port(), get("/else")), 404, null);
});

Deno.test("a route without an upstream where no plugin answers is 503 destination_unavailable", async () => {
  await using sluice = await startSluice({
    config: configFile({ route: { plugins: ["silent"] }, plugins: {} }),
    plugins: {
      "silent.ts": `import { definePlugin } from "@sluice/plugin";
        export default definePlugin({ requestFilter() {} });`,
    },
  });
  const answer = await rawRequest(sluice.port(), get("/"));
  assertProblem(answer, 503, "destination_unavailable");
  assert.notEqual(field(answer, "retry-after"), null);
});

Deno.test("an answer that switches protocols unasked is 502 http_protocol_error", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n");
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  assertProblem(await rawRequest(sluice.port(), get("/")), 502, "http_protocol_error");
});

Deno.test("CONNECT that is not allowed is 405 http_request_denied", async () => {
  await using sluice = await startSluice({ upstream: `http://127.0.0.1:${freePort()}` });
  const ask = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
  assertProblem(await rawRequest(sluice.port(), ask), 405, "http_request_denied");
});

Deno.test("a request that has gone round in circles is 508 proxy_loop_detected", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  const via = (count: number) => Array(count).fill("1.1 sluice").join(", ");
  assert.equal((await rawRequest(sluice.port(), get("/", { Via: via(7) }))).status, 200);
  const answer = await rawRequest(sluice.port(), get("/", { Via: via(8) }));
  assertProblem(answer, 508, "proxy_loop_detected");
});

Deno.test("a plugin that throws and fails closed is 500 proxy_internal_error", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    upstream: origin.url,
    plugins: {
      "broken.ts": `import { definePlugin } from "@sluice/plugin";
        export default definePlugin({
          onError: "fail_closed",
          requestFilter() { throw new Error("the database password is hunter2"); },
        });`,
    },
  });
  const answer = await rawRequest(sluice.port(), get("/"));
  assertProblem(answer, 500, "proxy_internal_error");
  assert.doesNotMatch(text(answer), /hunter2/);
  assert.equal(origin.requests.length, 0);
});

Deno.test("a browser gets a page, everybody else JSON", async () => {
  await using sluice = await startSluice({ upstream: `http://127.0.0.1:${freePort()}` });
  const page = await rawRequest(sluice.port(), get("/", { Accept: "text/html,*/*;q=0.8" }));
  assert.equal(page.status, 502);
  assert.match(field(page, "content-type")!, /^text\/html/);
  assert.match(text(page), /<h1>502/);
  for (const accept of ["*/*", "application/json", "application/problem+json"]) {
    assertProblem(
      await rawRequest(sluice.port(), get("/", { Accept: accept })),
      502,
      "connection_refused",
    );
  }
});

Deno.test("what a page shows of a request is escaped", async () => {
  await using sluice = await startSluice({ upstream: `http://127.0.0.1:${freePort()}` });
  const page = await rawRequest(
    sluice.port(),
    request("GET", "/%3Cscript%3E?<script>", { Accept: "text/html" }),
  );
  assert.doesNotMatch(text(page), /<script/i);
});

Deno.test("an error keeps the client's connection when the fault is behind us", async () => {
  await using sluice = await startSluice({ upstream: `http://127.0.0.1:${freePort()}` });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 3; i++) assert.equal((await client.request(get("/"))).status, 502);
  const head = await client.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD");
  assert.equal(head.status, 502);
  assert.equal((await client.request(get("/"))).status, 502);
});
