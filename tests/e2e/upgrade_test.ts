/** Upgrade: nothing passes before the origin's 101, everything after it, and each direction ends by itself. */
import assert from "node:assert/strict";
import { eventually } from "../support/deadline.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient } from "../support/raw_client.ts";
import { response, startRawOrigin } from "../support/raw_origin.ts";
import { readFrame, startSimpleOrigin, webSocketAccept } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";
import { bytes, latin1 } from "../support/wire.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const HANDSHAKE = get("/websocket", {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Key": KEY,
  "Sec-WebSocket-Version": "13",
});
const SWITCH = get("/", { Connection: "Upgrade", Upgrade: "words" });
const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n";

/** A frame as clients send it: masked. */
function clientFrame(opcode: number, payload: string): Uint8Array {
  const mask = [0x12, 0x34, 0x56, 0x78];
  const data = bytes(payload).map((byte, i) => byte ^ mask[i & 3]!);
  const long = data.length > 125;
  return new Uint8Array([
    0x80 | opcode,
    0x80 | (long ? 126 : data.length),
    ...(long ? [data.length >> 8, data.length & 255] : []),
    ...mask,
    ...data,
  ]);
}

async function openWebSocket(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port);
  const answer = await client.request(HANDSHAKE);
  assert.equal(answer.status, 101);
  assert.equal(field(answer, "upgrade")?.toLowerCase(), "websocket");
  assert.match(field(answer, "connection")!, /upgrade/i);
  assert.equal(field(answer, "sec-websocket-accept"), webSocketAccept(KEY));
  return client;
}

// Pingora: ws_server_ends_conn, the echo
Deno.test("a WebSocket echoes text and binary frames, short and long", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await openWebSocket(sluice.port());
  for (
    const [opcode, payload] of [[1, "hello"], [2, "\0\xff\x80"], [1, "x".repeat(120)]] as const
  ) {
    await client.send(clientFrame(opcode, payload));
    const frame = await readFrame(client);
    assert.equal(frame.opcode, opcode);
    assert.equal(latin1(frame.payload), payload);
  }
});

// Pingora: ws_server_ends_conn, graceful
Deno.test("a WebSocket that the server closes is closed for the client", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await openWebSocket(sluice.port());
  await client.send(clientFrame(1, "server closes"));
  const frame = await readFrame(client);
  assert.equal(frame.opcode, 8);
  assert.deepEqual([...frame.payload], [0x03, 0xe8]);
  assert.equal(await client.whenEnded(), "fin");
});

// Pingora: ws_server_ends_conn, abrupt
Deno.test("a WebSocket that the server breaks ends for the client", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await openWebSocket(sluice.port());
  await client.send(clientFrame(1, "server breaks"));
  await client.whenEnded();
});

// Pingora: ws_server_ends_conn, the client ends
Deno.test("a WebSocket that the client closes or breaks ends for the server", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  for (const how of ["close frame", "fin", "reset"]) {
    await using client = await openWebSocket(sluice.port());
    const connection = origin.raw.connections.at(-1)!;
    if (how === "close frame") {
      await client.send(clientFrame(8, "\x03\xe8"));
      assert.equal((await readFrame(client)).opcode, 8);
      client.end();
    } else if (how === "fin") client.end();
    else client.reset();
    await eventually(() => connection.ended !== null, `the origin to see the end by ${how}`);
    await client.whenEnded();
  }
});

// Pingora: upgrade_smoke
Deno.test("after the 101 bytes pass raw in both directions", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    const head = await connection.head();
    assert.equal(field(head, "upgrade"), "words");
    assert.match(field(head, "connection")!, /upgrade/i);
    await connection.send(SWITCHED);
    for (;;) {
      const piece = await connection.takeSome();
      if (piece.length === 0) return connection.end();
      await connection.send(latin1(piece).toUpperCase());
    }
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  assert.equal((await client.request(SWITCH)).status, 101);
  await client.send("not http at all\r\n\r\n");
  assert.equal(await client.takeUntil("\r\n\r\n"), "NOT HTTP AT ALL\r\n\r\n");
  await client.send("more");
  assert.equal(latin1(await client.take(4)), "MORE");
  client.end();
  assert.equal(await client.whenEnded(), "fin");
  assert.deepEqual(origin.failures, []);
});

Deno.test("each direction of a tunnel ends by itself", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await connection.send(SWITCHED);
    const all = latin1(await connection.takeRest());
    await connection.send(`you said: ${all}`);
    connection.end();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.request(SWITCH);
  await client.send("all I have");
  client.end();
  assert.equal(latin1(await client.takeRest()), "you said: all I have");
  assert.equal(client.ended, "fin");
});

// Pingora: upgrade_body
Deno.test("the content of the request arrives before the tunnel begins", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    const { body } = await connection.request();
    await connection.send(SWITCHED);
    await connection.send(`content: ${latin1(body)};`);
    await connection.send(`tunnel: ${latin1(await connection.take(5))};`);
    connection.end();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: words\r\n" +
      "Content-Length: 4\r\n\r\nbody",
  );
  const answer = await client.response("POST");
  assert.equal(answer.status, 101);
  assert.equal(await client.takeUntil(";"), "content: body;");
  await client.send("after");
  assert.equal(await client.takeUntil(";"), "tunnel: after;");
});

// Pingora: upgrade_body_after_101
for (const when of ["before", "after"]) {
  Deno.test(`content that the client sends ${when} it has seen an early 101 arrives, and then its tunnel`, async () => {
    await using origin = await startRawOrigin(async (connection) => {
      await connection.head();
      await connection.send(SWITCHED);
      await connection.send(`got: ${latin1(await connection.take(9))};`);
      connection.end();
      await connection.whenEnded();
    });
    await using sluice = await startSluice({ upstream: origin.url });
    await using client = await RawClient.connect(sluice.port());
    await client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: words\r\n" +
        "Content-Length: 4\r\n\r\n",
    );
    if (when === "before") await client.send("bodyafter");
    const answer = await client.response("POST");
    assert.equal(answer.status, 101);
    if (when === "after") await client.send("bodyafter");
    assert.equal(await client.takeUntil(";"), "got: bodyafter;");
  });
}

// Pingora: CVE-2026-2833
Deno.test("bytes behind an Upgrade request do not reach the origin before it agrees", async () => {
  let agree = () => {};
  const agreed = new Promise<void>((resolve) => agree = resolve);
  await using origin = await startRawOrigin(async (connection) => {
    await connection.head();
    await agreed;
    assert.equal(connection.buffered.length, 0);
    assert.equal(connection.received.includes("smuggled"), false);
    await connection.send(SWITCHED);
    await connection.takeUntil("\r\n\r\n");
    connection.end();
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(SWITCH + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
  await origin.waitForConnections(1);
  await eventually(() => origin.connections[0]!.received.includes("\r\n\r\n"), "the request");
  // Whatever the proxy would send too early is given the time to arrive.
  await origin.connections[0]!.fill(200).catch(() => false);
  agree();
  await client.response();
  await client.whenEnded();
  assert.deepEqual(origin.failures, []);
});

// Pingora: CVE-2026-2833, the refusal
Deno.test("when the origin refuses, what follows an Upgrade request is a request of its own", async () => {
  await using origin = await startRawOrigin((connection) =>
    connection.answerAll(response("plain"))
  );
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  await client.send(SWITCH + get("/second"));
  assert.equal(text(await client.response()), "plain");
  assert.equal(text(await client.response()), "plain");
  const heads = origin.received.match(/^(GET|POST) \S+ HTTP\/1\.1\r$/gm);
  assert.deepEqual(heads, ["GET / HTTP/1.1\r", "GET /second HTTP/1.1\r"]);
  // The second went through the proxy as a request: it was told who sent it.
  assert.equal(origin.received.match(/Via: 1\.1 sluice/g)!.length, 2);
});

Deno.test("a 101 that nobody asked for is a broken response", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    await connection.request();
    await connection.send(SWITCHED + "raw");
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request(get("/"));
  assert.equal(answer.status, 502);
  assert.equal(origin.connections.length, 1);
});

Deno.test("an upgrade to HTTP/2 is not offered to the origin: requests in a tunnel would pass us unseen", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request(get("/request", {
    Connection: "Upgrade, HTTP2-Settings",
    Upgrade: "h2c",
    "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA",
  }));
  assert.equal(answer.status, 200);
  const seen = JSON.parse(text(answer));
  assert.equal(field(seen, "upgrade"), null);
  assert.equal(field(seen, "http2-settings"), null);
});

Deno.test("HTTP/1.0 cannot upgrade", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  const answer = await client.request(
    "GET /request HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "GET",
  );
  assert.equal(answer.status, 200);
  assert.equal(field(JSON.parse(text(answer)), "upgrade"), null);
});

Deno.test("a tunnel moves megabytes both ways at once, and slows down with its reader", async () => {
  const size = 8 * 1024 * 1024;
  await using origin = await startRawOrigin(async (connection) => {
    connection.recording = false;
    await connection.head();
    await connection.send(SWITCHED);
    await Promise.all([
      connection.send(new Uint8Array(size).fill(1), 30_000),
      connection.take(size, 30_000),
    ]);
    connection.end();
    await connection.whenEnded();
  });
  await using sluice = await startSluice({ upstream: origin.url });
  await using client = await RawClient.connect(sluice.port());
  client.recording = false;
  await client.request(SWITCH);
  const [got] = await Promise.all([
    client.take(size, 30_000),
    client.send(new Uint8Array(size).fill(2), 30_000),
  ]);
  assert.ok(got.every((byte) => byte === 1));
  assert.equal(await client.whenEnded(), "fin");
  assert.deepEqual(origin.failures, []);
});
