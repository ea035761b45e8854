/** Content on its way: both directions at once, large, cut short, with trailers, and answered early. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, readBody, text } from "../support/http_text.ts";
import { chunked, get, RawClient, rawRequest, request } from "../support/raw_client.ts";
import { response, startRawOrigin } from "../support/raw_origin.ts";
import { pattern, type SeenRequest, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { bytes, latin1 } from "../support/wire.ts";

const MIB = 1024 * 1024;

// Pingora: ip_binding
Deno.test("the origin sees the configured local address", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({ origin: origin.address, transport: { local_address: "127.0.0.2" } }),
  });
  const seen: SeenRequest = JSON.parse(text(await rawRequest(sluice.port(), get("/request"))));
  assert.equal(seen.peer, "127.0.0.2");
});

// Pingora: duplex
Deno.test("a response arrives while the upload goes on, and the connection stays usable", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    const head = await connection.head();
    await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n");
    const { body } = await readBody(connection, head.fields, "none");
    await connection.send(chunked(String(body.length)));
    await connection.answerAll(response("next"));
  });
  await using sluice = await startSluice({
    // What is announced and larger than this makes an early response say `Connection: close`.
    config: configFile({ origin: origin.address, limits: { drain_bytes: MIB } }),
  });
  await using client = await RawClient.connect(sluice.port());
  await client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${MIB}\r\n\r\n`);
  await client.send(bytes("x".repeat(1000)));
  // It has come while all but a thousand bytes are still to be sent.
  assert.match(await client.takeUntil("early\r\n"), /^HTTP\/1\.1 200 OK\r\n/);
  await client.send(bytes("x".repeat(MIB - 1000)));
  assert.equal(await client.takeUntil("0\r\n\r\n"), `7\r\n${MIB}\r\n0\r\n\r\n`);
  assert.equal(text(await client.request(get("/"))), "next");
  assert.deepEqual(origin.failures, []);
});

// Pingora: upload
Deno.test("15 MB go up and are echoed intact, with a length and in chunks", async () => {
  const size = 15_000_000;
  const sent = pattern(size);
  await using origin = await startRawOrigin(async (connection) => {
    connection.recording = false;
    for (;;) {
      const { body } = await connection.request(30_000);
      await connection.send(response(latin1(body)), 30_000);
    }
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  client.recording = false;
  const asks = [
    bytes(request("POST", "/", {}, sent)),
    bytes(request("POST", "/", { "Transfer-Encoding": "chunked" }) + chunked(sent)),
  ];
  for (const ask of asks) {
    const sending = client.send(ask, 30_000);
    const answer = await client.response("POST", 30_000);
    await sending;
    assert.equal(answer.status, 200);
    assert.ok(latin1(answer.body) === sent, "the echo differs");
  }
});

// Pingora: connection_die
Deno.test("an origin that dies inside of its content makes a response that is visibly cut", async () => {
  for (
    const head of [
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n12345",
    ]
  ) {
    for (const how of ["close", "reset"] as const) {
      await using origin = await startRawOrigin(async (connection) => {
        await connection.request();
        await connection.send(head);
        // The head must be through before the end: a reset may overtake what is in flight.
        await connection.fill(100).catch(() => false);
        if (how === "reset") connection.reset();
      });
      await using sluice = await startSluice({ upstream: origin.url });
      await using client = await RawClient.connect(sluice.port());
      await client.send(get("/"));
      assert.match(await client.takeUntil("\r\n\r\n"), /^HTTP\/1\.1 200 OK\r\n/);
      const rest = latin1(await client.takeRest());
      assert.match(rest, /12345/);
      assert.doesNotMatch(rest, /0\r\n\r\n$/);
      assert.notEqual(client.ended, null);
    }
  }
});

Deno.test("a cut response is an error in the access log, and the proxy goes on serving", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345");
  });
  await using sluice = await startSluice({ upstream: origin.url });
  for (let i = 0; i < 3; i++) {
    await using client = await RawClient.connect(sluice.port());
    await client.send(get("/"));
    await client.whenEnded();
  }
  const lines = await sluice.waitForAccessLog(3);
  for (const line of lines) {
    assert.equal(line["http.response.status_code"], 200);
    assert.equal(line["proxy.error"], "http_response_incomplete");
    assert.equal(line["proxy.error_source"], "upstream");
  }
});

// Pingora: upload_connection_die
Deno.test("an origin that answers and closes during an upload still gets its answer through", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send(response("too much", { Connection: "close" }, "413 Content Too Large"));
    connection.end();
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${8 * MIB}\r\n\r\n`);
  const sending = client.send(new Uint8Array(8 * MIB));
  const answer = await client.response("POST");
  assert.equal(answer.status, 413);
  assert.equal(text(answer), "too much");
  await client.whenEnded();
  await sending;
});

Deno.test("an origin that answers an upload and breaks the connection still gets its answer through", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    // What is unread when the connection closes makes it a reset.
    await connection.send(response("enough", { Connection: "close" }));
    connection.close();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  let through = 0;
  for (let i = 0; i < 5; i++) {
    await using client = await RawClient.connect(sluice.port());
    await client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${MIB}\r\n\r\n`);
    const sending = client.send(new Uint8Array(MIB));
    const answer = await client.response("POST");
    await sending;
    assert.ok(answer.status === 200 || answer.status === 502, `${answer.status}`);
    if (answer.status === 200) through++;
  }
  // A reset may destroy an answer on its way; that is the origin's doing. Mostly it arrives.
  assert.ok(through > 0, "no answer came through");
});

// Pingora: close_on_response_before_downstream_finish
Deno.test("a response before the end of the request closes the client's connection, and says so", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send(response("early"));
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\npart of it");
  const answer = await client.response("POST");
  assert.equal(text(answer), "early");
  assert.equal(field(answer, "connection"), "close");
  await client.whenEnded();
});

Deno.test("the connection to an origin that answered early is not used again", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send(response("early"));
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  for (let i = 0; i < 2; i++) {
    await using client = await RawClient.connect(sluice.port());
    await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\npart");
    assert.equal(text(await client.response("POST")), "early");
  }
  assert.equal(origin.connections.length, 2);
});

Deno.test("response trailers reach a client that takes them, and no other", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  const with_ = await rawRequest(
    sluice.port(),
    get("/trailers", { TE: "trailers", Connection: "TE" }),
  );
  assert.equal(text(with_), "hello");
  assert.deepEqual(with_.trailers, [["X-Checksum", "42"]]);
  const without = await rawRequest(sluice.port(), get("/trailers"));
  assert.equal(text(without), "hello");
  assert.deepEqual(without.trailers, []);
});

Deno.test("request trailers reach the origin, but none that could change the request", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  const answer = await rawRequest(
    sluice.port(),
    request("POST", "/request", { "Transfer-Encoding": "chunked", Trailer: "X-Sum" }) +
      "3\r\nabc\r\n0\r\nX-Sum: 7\r\nHost: evil\r\nContent-Length: 9\r\nAuthorization: x\r\n\r\n",
  );
  const seen: SeenRequest = JSON.parse(text(answer));
  assert.equal(seen.body, "abc");
  assert.deepEqual(seen.trailers, [["X-Sum", "7"]]);
});

Deno.test("chunk extensions are not passed on", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  const answer = await rawRequest(
    sluice.port(),
    request("POST", "/echo", { "Transfer-Encoding": "chunked" }) +
      '3;a=b\r\nabc\r\n2;q="x;y"\r\nde\r\n0;last\r\n\r\n',
  );
  assert.equal(text(answer), "abcde");
  assert.doesNotMatch(origin.raw.received, /a=b|x;y|last/);
});

Deno.test("server-sent pieces arrive one by one, not when all is there", async () => {
  let next = () => {};
  const step = () => new Promise<void>((resolve) => next = resolve);
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const word of ["one", "two", "three"]) {
      const more = step();
      await connection.send(`${word.length}\r\n${word}\r\n`);
      await more;
    }
    await connection.send("0\r\n\r\n");
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await client.takeUntil("\r\n\r\n");
  for (const word of ["one", "two", "three"]) {
    assert.match(await client.takeUntil(`${word}\r\n`), new RegExp(`^${word.length}\r\n`));
    next();
  }
  assert.equal(await client.takeUntil("0\r\n\r\n"), "0\r\n\r\n");
});

Deno.test("a client that leaves during a download ends the upstream's work", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    connection.recording = false;
    await connection.request();
    await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    const piece = new Uint8Array(256 * 1024);
    while (connection.ended === null && !connection.socket.destroyed) {
      await connection.send(piece);
    }
  });
  await using sluice = await startSluice({ upstream: origin.url });
  const client = await RawClient.connect(sluice.port());
  await client.send(get("/"));
  await client.takeUntil("\r\n\r\n");
  client.reset();
  await origin.connections[0]!.whenEnded();
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["proxy.error_source"], "downstream");
});
