/** The plainest of proxying: requests go through, and answers come back as they were. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, fieldValues, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import {
  pattern,
  type SeenRequest,
  type SimpleOrigin,
  startSimpleOrigin,
} from "../support/simple_origin.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

let origin: SimpleOrigin;
let sluice: Sluice;

Deno.test.beforeAll(async () => {
  origin = await startSimpleOrigin();
  sluice = await startSluice({ config: configFile({ origin: origin.address }) });
});
Deno.test.afterAll(async () => {
  await sluice?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

// Pingora: origin_alive, simple_proxy
Deno.test("a GET is answered with the origin's status, fields and content", async () => {
  const answer = await rawRequest(sluice.port(), get("/bytes/1000"));
  assert.equal(answer.status, 200);
  assert.equal(answer.reason, "OK");
  assert.equal(field(answer, "content-length"), "1000");
  assert.equal(text(answer), pattern(1000));
});

Deno.test("flags alone make a proxy", async () => {
  await using plain = await startSluice({ upstream: origin.url });
  const answer = await rawRequest(plain.port(), get("/bytes/10"));
  assert.equal(answer.status, 200);
  assert.equal(text(answer), pattern(10));
});

Deno.test("the origin's reason phrase and odd status codes pass through", async () => {
  const answer = await rawRequest(sluice.port(), get("/status/299"));
  assert.equal(answer.status, 299);
  assert.equal(answer.reason, "Some Reason");
});

// Pingora: simple_proxy_uds
Deno.test("a unix socket listener serves, and has no client address to forward", async () => {
  await using unix = await startSluice({
    config: (directory) =>
      configFile({
        origin: origin.address,
        listener: { address: `unix:${directory}/web.sock`, unix_mode: "0600" },
      }),
  });
  const path = `${unix.directory}/web.sock`;
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  const answer = await rawRequest({ path }, get("/request"));
  assert.equal(answer.status, 200);
  const seen: SeenRequest = JSON.parse(text(answer));
  assert.equal(field(seen, "x-forwarded-for"), null);
  assert.equal(field(seen, "x-forwarded-proto"), "http");
  assert.equal(await unix.stop(), 0);
  assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
});

// Pingora: simple_proxy_uds_peer
Deno.test("an upstream may be a unix socket", async () => {
  const directory = await Deno.makeTempDir();
  try {
    await using behind = await startSimpleOrigin({ path: `${directory}/origin.sock` });
    await using proxy = await startSluice({
      config: configFile({ origin: `unix:${directory}/origin.sock` }),
    });
    const client = await RawClient.connect(proxy.port());
    for (let i = 0; i < 3; i++) {
      assert.equal(text(await client.request(get("/bytes/100"))), pattern(100));
    }
    await client[Symbol.asyncDispose]();
    assert.equal(behind.raw.connections.length, 1);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

// Pingora: connect_close
Deno.test("Connection: close is answered in kind, and the connection is closed", async () => {
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request(get("/bytes/5", { Connection: "close" }));
  assert.equal(field(answer, "connection"), "close");
  assert.equal(await client.whenEnded(), "fin");
});

Deno.test("without Connection: close the connection carries further requests", async () => {
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 5; i++) {
    const answer = await client.request(get("/bytes/5"));
    assert.notEqual(field(answer, "connection"), "close");
    assert.equal(text(answer), pattern(5));
  }
  assert.equal(client.ended, null);
});

Deno.test("requests on one client connection share one upstream connection", async () => {
  await using client = await RawClient.connect(sluice.port());
  const first: SeenRequest = JSON.parse(text(await client.request(get("/request"))));
  const second: SeenRequest = JSON.parse(text(await client.request(get("/request"))));
  assert.equal(second.connection, first.connection);
  assert.equal(second.number, first.number + 1);
});

// Pingora: connect_proxying_disallowed_h1
Deno.test("CONNECT is answered 405 and never reaches the origin", async () => {
  const before = origin.requests.length;
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request(
    "CONNECT test.example:443 HTTP/1.1\r\nHost: test.example:443\r\n\r\n",
  );
  assert.equal(answer.status, 405);
  assert.notEqual(field(answer, "allow"), null);
  await client.whenEnded();
  assert.equal(origin.requests.length, before);
});

// Pingora: connect_proxying_allowed_h1
Deno.test("CONNECT is passed on to the origin where the listener allows it", async () => {
  await using behind = await startSimpleOrigin({
    handler: ({ method }) =>
      method === "CONNECT" ? "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno" : null,
  });
  await using proxy = await startSluice({
    config: configFile({ origin: behind.address, listener: { allow_connect: true } }),
  });
  const answer = await rawRequest(
    proxy.port(),
    "CONNECT test.example:443 HTTP/1.1\r\nHost: test.example:443\r\n\r\n",
  );
  assert.equal(answer.status, 403);
  assert.equal(text(answer), "no");
  assert.equal(behind.requests[0]!.target, "test.example:443");
});

Deno.test("HEAD has the fields of GET, no content, and leaves the connection usable", async () => {
  await using client = await RawClient.connect(sluice.port());
  const head = await client.request("HEAD /bytes/77 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD");
  assert.equal(head.status, 200);
  assert.equal(field(head, "content-length"), "77");
  const chunked = await client.request("HEAD /chunked/77 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD");
  assert.equal(chunked.status, 200);
  assert.equal(text(await client.request(get("/bytes/3"))), pattern(3));
});

Deno.test("204 and 304 have no content and leave the connection usable", async () => {
  await using client = await RawClient.connect(sluice.port());
  for (const status of [204, 304]) {
    const answer = await client.request(get(`/status/${status}`));
    assert.equal(answer.status, status);
    assert.equal(field(answer, "transfer-encoding"), null);
    if (status === 204) assert.equal(field(answer, "content-length"), null);
  }
  assert.equal(text(await client.request(get("/bytes/3"))), pattern(3));
});

Deno.test("an HTTP/1.0 client gets content of unknown length up to the close, never chunks", async () => {
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request("GET /chunked/500 HTTP/1.0\r\nHost: a\r\n\r\n", "GET");
  assert.equal(field(answer, "transfer-encoding"), null);
  assert.equal(answer.framing, "close");
  assert.equal(text(answer), pattern(500));
});

Deno.test("an HTTP/1.0 client may keep its connection when the length is known", async () => {
  await using client = await RawClient.connect(sluice.port());
  const ask = "GET /bytes/9 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
  const first = await client.request(ask, "GET");
  assert.match(field(first, "connection") ?? "", /keep-alive/i);
  assert.equal(text(await client.request(ask, "GET")), pattern(9));
  const last = await client.request("GET /bytes/9 HTTP/1.0\r\n\r\n", "GET");
  assert.equal(text(last), pattern(9));
  assert.equal(await client.whenEnded(), "fin");
});

Deno.test("an HTTP/1.0 response of the origin is served as HTTP/1.1", async () => {
  await using behind = await startSimpleOrigin({
    handler: async (_request, connection) => {
      await connection.send("HTTP/1.0 200 OK\r\n\r\nold words");
      return null;
    },
  });
  await using proxy = await startSluice({ upstream: behind.url });
  await using client = await RawClient.connect(proxy.port());
  for (let i = 0; i < 2; i++) {
    const answer = await client.request(get("/"));
    assert.equal(answer.version, "HTTP/1.1");
    assert.equal(answer.framing, "chunked");
    assert.equal(text(answer), "old words");
  }
});

Deno.test("pipelined requests are answered in their order, however slow the first is", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.send(
    get("/delay/150") + request("POST", "/echo", {}, "second") + get("/bytes/30") +
      "HEAD /bytes/4 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/chunked/40"),
  );
  assert.equal(text(await client.response()), "late");
  assert.equal(text(await client.response()), "second");
  assert.equal(text(await client.response()), pattern(30));
  assert.equal(field(await client.response("HEAD"), "content-length"), "4");
  assert.equal(text(await client.response()), pattern(40));
});

Deno.test("a request that arrives byte by byte is understood", async () => {
  await using client = await RawClient.connect(sluice.port());
  await client.sendSplit(request("POST", "/echo", { "X-Test": "1" }, "one byte at a time"));
  assert.equal(text(await client.response()), "one byte at a time");
});

Deno.test("an absolute target names the host, and is sent on as a path", async () => {
  const answer = await rawRequest(
    sluice.port(),
    "GET http://other.example/request?a=1 HTTP/1.1\r\nHost: other.example\r\n\r\n",
  );
  const seen: SeenRequest = JSON.parse(text(answer));
  assert.equal(seen.target, "/request?a=1");
  assert.equal(field(seen, "host"), "other.example");
});

Deno.test("OPTIONS * is passed on", async () => {
  const answer = await rawRequest(sluice.port(), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal(answer.status, 200);
  assert.equal(origin.requests.at(-1)!.target, "*");
});

Deno.test("256 clients at once get the same answers as one at a time", async () => {
  const asks = Array.from(
    { length: 256 },
    (_, i) =>
      i % 4 === 0
        ? request("POST", "/echo", {}, pattern(i * 37))
        : i % 4 === 1
        ? get(`/bytes/${i * 53}`)
        : i % 4 === 2
        ? get(`/chunked/${i * 41}`)
        : get(`/status/${400 + i % 40}`, { "X-Number": String(i) }),
  );
  const shape = (answer: Awaited<ReturnType<typeof rawRequest>>) => ({
    status: answer.status,
    framing: answer.framing,
    fields: answer.fields.filter(([name]) => name.toLowerCase() !== "date"),
    body: text(answer),
  });
  const alone = [];
  await using client = await RawClient.connect(sluice.port());
  for (const ask of asks) alone.push(shape(await client.request(ask)));
  const clients = await Promise.all(asks.map(() => RawClient.connect(sluice.port())));
  const together = await Promise.all(
    clients.map(async (one, i) => shape(await one.request(asks[i]!, undefined, 30_000))),
  );
  for (const one of clients) await one[Symbol.asyncDispose]();
  assert.deepEqual(together, alone);
});

Deno.test("a response has one Date, that of the origin if it sent one", async () => {
  const without = await rawRequest(sluice.port(), get("/bytes/1"));
  assert.equal(fieldValues(without, "date").length, 1);
  assert.ok(Math.abs(Date.parse(field(without, "date")!) - Date.now()) < 5_000);
  const date = "Mon, 01 Jan 2024 00:00:00 GMT";
  await using behind = await startSimpleOrigin({
    handler: () => `HTTP/1.1 200 OK\r\nDate: ${date}\r\nContent-Length: 0\r\n\r\n`,
  });
  await using proxy = await startSluice({ upstream: behind.url });
  assert.deepEqual(fieldValues(await rawRequest(proxy.port(), get("/")), "date"), [date]);
});

Deno.test("a rule answers every request alike, and an answer leaves no trace in the next", async () => {
  await using answering = await startSluice({
    config: configFile({
      route: {
        rules: [{
          respond: { status: 203, headers: { "X-Mine": "1", "Set-Cookie": "a=b" }, body: "told" },
        }],
      },
    }),
  });
  await using client = await RawClient.connect(answering.port());
  for (let i = 0; i < 3; i++) {
    const answer = await client.request(get("/"));
    assert.equal(answer.status, 203);
    assert.equal(text(answer), "told");
    assert.deepEqual(fieldValues(answer, "x-mine"), ["1"]);
    assert.deepEqual(fieldValues(answer, "set-cookie"), ["a=b"]);
    assert.deepEqual(fieldValues(answer, "content-type"), ["text/plain; charset=utf-8"]);
    assert.deepEqual(fieldValues(answer, "content-length"), ["4"]);
    const none = await client.request(request("HEAD", "/"), "HEAD");
    assert.deepEqual(fieldValues(none, "x-mine"), ["1"]);
  }
});
