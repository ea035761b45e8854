/** The bounds of a request at their edges: what just fits passes, one more is refused by its own status. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { chunked, get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { response, startRawOrigin } from "../support/raw_origin.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

let origin: SimpleOrigin;
let sluice: Sluice;

Deno.test.beforeAll(async () => {
  origin = await startSimpleOrigin();
  sluice = await startSluice({
    config: configFile({
      origin: origin.address,
      limits: {
        head_bytes: 2048,
        fields: 10,
        target_bytes: 256,
        body_bytes: 1000,
        requests_per_connection: 3,
      },
      top: {
        services: [{
          name: "main",
          routes: [
            {
              id: "small",
              match: { path: "/echo/small" },
              upstream: "origin",
              limits: { body_bytes: 10 },
            },
            { id: "all", upstream: "origin" },
          ],
        }],
      },
    }),
  });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

/** A request that is refused: by this status, without the origin, and with the connection closed. */
async function refused(ask: string, status: number): Promise<void> {
  const before = origin.requests.length;
  await using client = await RawClient.connect(sluice.port());
  await client.send(ask);
  const answer = await client.response(ask.slice(0, ask.indexOf(" ")));
  assert.equal(answer.status, status);
  assert.equal(field(answer, "content-type"), "application/problem+json");
  assert.match(field(answer, "proxy-status")!, /^sluice; error=http_request_error/);
  assert.equal(field(answer, "connection"), "close");
  await client.whenEnded();
  assert.equal(origin.requests.length, before);
}

Deno.test("a target of exactly the limit passes, one byte more is 414", async () => {
  const path = (length: number) => "/".padEnd(length, "a");
  assert.equal((await rawRequest(sluice.port(), get(path(256)))).status, 200);
  await refused(get(path(257)), 414);
  await refused(get(path(1900)), 414);
});

Deno.test("as many fields as the limit pass, one more is 431", async () => {
  const fields = (count: number) => {
    const own: Record<string, string> = {};
    // Host is the first.
    for (let i = 1; i < count; i++) own[`X-${i}`] = "1";
    return own;
  };
  assert.equal((await rawRequest(sluice.port(), get("/", fields(10)))).status, 200);
  await refused(get("/", fields(11)), 431);
});

Deno.test("a head of exactly the limit passes, one byte more is 431", async () => {
  const head = (length: number) => {
    const rest = get("/", { "X-Fill": "" }).length;
    return get("/", { "X-Fill": "f".repeat(length - rest) });
  };
  assert.equal(head(2048).length, 2048);
  assert.equal((await rawRequest(sluice.port(), head(2048))).status, 200);
  await refused(head(2049), 431);
  await refused(head(60_000), 431);
});

Deno.test("a head without end is cut at the limit, not buffered", async () => {
  await using client = await RawClient.connect(sluice.port());
  const sending = client.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x".repeat(4 * 1024 * 1024));
  assert.equal((await client.response()).status, 431);
  await client.whenEnded();
  await sending;
});

Deno.test("content of exactly the limit passes, one byte more is 413: by length", async () => {
  const fits = await rawRequest(sluice.port(), request("POST", "/echo", {}, "b".repeat(1000)));
  assert.equal(fits.status, 200);
  assert.equal(fits.body.length, 1000);
  await refused(request("POST", "/echo", {}, "b".repeat(1001)), 413);
  await refused("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n", 413);
});

Deno.test("content of exactly the limit passes, one byte more is 413: in chunks", async () => {
  const ask = (...pieces: string[]) =>
    request("POST", "/echo", { "Transfer-Encoding": "chunked" }) + chunked(...pieces);
  const fits = await rawRequest(sluice.port(), ask("b".repeat(600), "b".repeat(400)));
  assert.equal(fits.status, 200);
  assert.equal(fits.body.length, 1000);
  const before = origin.count("/echo");
  await using client = await RawClient.connect(sluice.port());
  await client.send(ask("b".repeat(600), "b".repeat(401)));
  assert.equal((await client.response("POST")).status, 413);
  await client.whenEnded();
  assert.equal(origin.count("/echo"), before);
});

Deno.test("a route may take less content than its listener", async () => {
  const fits = await rawRequest(sluice.port(), request("POST", "/echo/small", {}, "b".repeat(10)));
  assert.equal(fits.status, 200);
  const before = origin.count("/echo/small");
  const over = await rawRequest(sluice.port(), request("POST", "/echo/small", {}, "b".repeat(11)));
  assert.equal(over.status, 413);
  assert.equal(origin.count("/echo/small"), before);
});

Deno.test("the last request that a connection may carry says Connection: close", async () => {
  await using client = await RawClient.connect(sluice.port());
  for (let i = 1; i <= 3; i++) {
    const answer = await client.request(get("/bytes/1"));
    assert.equal(field(answer, "connection"), i === 3 ? "close" : null);
  }
  assert.equal(await client.whenEnded(), "fin");
});

Deno.test("over max_connections further ones are closed, and places come free again", async () => {
  await using crowded = await startSluice({
    config: configFile({ origin: origin.address, listener: { max_connections: 3 } }),
  });
  const held = await Promise.all([1, 2, 3].map(() => RawClient.connect(crowded.port())));
  for (const client of held) assert.equal((await client.request(get("/bytes/1"))).status, 200);
  await using fourth = await RawClient.connect(crowded.port());
  await fourth.send(get("/bytes/1"));
  await fourth.whenEnded();
  assert.equal(fourth.received, "");
  assert.equal((await held[0]!.request(get("/bytes/1"))).status, 200);
  for (const client of held) await client[Symbol.asyncDispose]();
  await eventually(async () => {
    await using again = await RawClient.connect(crowded.port());
    await again.send(get("/bytes/1"));
    return await again.fill();
  }, "a free place");
});

Deno.test("a response head over its limit is a 502, and its connection is not used again", async () => {
  await using behind = await startRawOrigin((connection) =>
    connection.answerAll(response("ok", { "X-Large": "x".repeat(70_000) }))
  );
  await using proxy = await startSluice({ upstream: behind.url });
  await using client = await RawClient.connect(proxy.port());
  for (let i = 0; i < 2; i++) {
    const answer = await client.request(get("/"));
    assert.equal(answer.status, 502);
    assert.match(field(answer, "proxy-status")!, /error=http_response_header_section_size/);
    assert.doesNotMatch(text(answer), /xxx/);
  }
  assert.equal(behind.connections.length, 2);
});
