/** 1xx responses, and Expect. */
import assert from "node:assert/strict";
import { field, readBody, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { response, startRawOrigin } from "../support/raw_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

// Pingora: 103
Deno.test("a 103 is forwarded before the final response", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 2; i++) {
    await client.send(get("/early-hints"));
    const [hints, final, ...more] = await client.responses();
    assert.equal(hints!.status, 103);
    assert.equal(field(hints!, "link"), "</a.css>; rel=preload");
    assert.equal(field(hints!, "content-length"), null);
    assert.equal(final!.status, 200);
    assert.equal(text(final!), "hinted");
    assert.equal(more.length, 0);
  }
  assert.equal(origin.raw.connections.length, 1);
});

// Pingora: 103_die
Deno.test("an origin that dies after a 103 makes a 502", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  const all = await client.responses();
  assert.deepEqual(all.map(({ status }) => status), [103, 502]);
  assert.equal(origin.connections.length, 1);
});

Deno.test("a 1xx never reaches an HTTP/1.0 client", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send("GET /early-hints HTTP/1.0\r\nHost: a\r\n\r\n");
  const all = await client.responses();
  assert.deepEqual(all.map(({ status }) => status), [200]);
});

Deno.test("more 1xx responses than any origin needs are a broken response", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000) + response("ok"));
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  const all = await client.responses();
  assert.equal(all.at(-1)!.status, 502);
  assert.ok(all.length < 100, `${all.length} responses`);
});

// Pingora: head_with_100_continue
Deno.test("HEAD with 1xx before its answer confuses nobody, and the connection is used again", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    for (;;) {
      const { method } = await connection.request();
      await connection.send(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" +
          (method === "HEAD" ? "" : "body"),
      );
    }
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  const head = await client.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD");
  assert.equal(head.status, 200);
  assert.equal(field(head, "content-length"), "4");
  assert.equal(text(await client.request(get("/"))), "body");
  assert.equal(origin.connections.length, 1);
});

Deno.test("Expect: 100-continue reaches the origin, and its 100 lets the client go on", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    const head = await connection.head();
    assert.equal(field(head, "expect"), "100-continue");
    await connection.send("HTTP/1.1 100 Continue\r\n\r\n");
    const { body } = await readBody(connection, head.fields, "none");
    await connection.send(response(`got ${body.length}`));
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
  );
  assert.equal((await client.response("POST")).status, 100);
  await client.send("four");
  assert.equal(text(await client.response("POST")), "got 4");
  assert.deepEqual(origin.failures, []);
});

Deno.test("an origin may refuse an expectation, and the content is never asked for", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send(response("no", {}, "403 Forbidden"));
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 400000\r\n\r\n",
  );
  const answer = await client.response("POST");
  assert.equal(answer.status, 403);
  // The client may or may not send its content now, so the connection cannot go on.
  assert.equal(field(answer, "connection"), "close");
  await client.whenEnded();
});

Deno.test("an expectation that nobody knows is answered 417", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  const answer = await rawRequest(
    sluice.port(),
    request("POST", "/echo", { Expect: "the-unexpected" }, "x"),
  );
  assert.equal(answer.status, 417);
  assert.equal(origin.requests.length, 0);
});
