import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, ResponseHead } from "../../src/http/message.ts";
import type { DownstreamSession } from "../../src/http/session.ts";
import {
  answerOk,
  bytes,
  connectDownstream,
  connectUpstream,
  readAll,
  text,
} from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

const UPGRADE =
  "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket, x\r\n\r\n";

function switchTo(session: DownstreamSession): void {
  const head = new ResponseHead(101, Fields.from([["Upgrade", "websocket"]]));
  session.writeHead(head, { kind: "none" });
  session.startTunnel();
}

Deno.test("bytes behind an upgrade request are held back until the tunnel begins", async () => {
  for (const readSize of [1e9, 1]) {
    const gate = Promise.withResolvers<void>();
    const got: string[] = [];
    const { socket, sessions } = connectDownstream({
      readSize,
      async serve(session) {
        assert.equal(session.upgrade, "websocket");
        assert.equal(text(await session.readBody()), "");
        assert(session.bodyDone);
        await gate.promise;
        switchTo(session);
        while (!session.bodyDone) got.push(text(await session.readBody()));
        session.writeBody(bytes("bye"), false);
        session.closeTunnelWrite();
      },
    });
    socket.feed(UPGRADE + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    for (let i = 0; i < 3; i++) await settled();
    assert.equal(socket.text, "");
    gate.resolve();
    await settled();
    socket.feed("more");
    await settled();
    socket.feedEnd();
    for (let i = 0; i < 3; i++) await settled();
    assert.equal(got.join(""), "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nmore");
    assert.equal(
      socket.text,
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nbye",
    );
    assert.equal(sessions.length, 1);
    assert(socket.closed && !socket.destroyed);
  }
});

Deno.test("an upgrade that is not taken up leaves an ordinary connection", async () => {
  const { socket, sessions } = connectDownstream();
  socket.feed(UPGRADE + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
  await settled();
  assert.equal(sessions.length, 2);
  assert.equal(sessions[1]!.upgrade, "");
});

Deno.test("content of an upgrade request is read by its framing, the tunnel begins behind it", async () => {
  const got: string[] = [];
  const { socket } = connectDownstream({
    async serve(session) {
      got.push(await readAll(session));
      switchTo(session);
      got.push(text(await session.readBody()));
      session.closeTunnelWrite();
    },
  });
  socket.feed(
    "POST /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: tcp\r\nContent-Length: 4\r\n\r\nbodytunnel",
  );
  await settled();
  assert.deepEqual(got, ["body", "tunnel"]);
});

Deno.test("only an HTTP/1.1 request with Connection: upgrade and one Upgrade field asks for a tunnel", async () => {
  const heads = [
    "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket",
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a\r\nUpgrade: b",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: ,",
    // Requests inside such a tunnel would pass unseen.
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x",
  ];
  for (const head of heads) {
    const { socket, sessions } = connectDownstream();
    socket.feed(`${head}\r\n\r\n`);
    await settled();
    assert.equal(sessions[0]!.upgrade, "", head);
  }
});

Deno.test("a 101 that nobody asked for, and a tunnel without one, are errors of ours", async () => {
  const errors: unknown[] = [];
  const { socket } = connectDownstream({
    serve(session) {
      for (const wrong of [() => switchTo(session), () => session.startTunnel()]) {
        try {
          wrong();
        } catch (error) {
          errors.push(error);
        }
      }
      answerOk(session);
    },
  });
  socket.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await settled();
  assert.deepEqual(errors.map((error) => (error as ProxyError).type), [
    "internal_error",
    "internal_error",
  ]);
  assert.match(socket.text, /^HTTP\/1.1 200/);
});

Deno.test("CONNECT is handed out when allowed, and becomes a tunnel by a 2xx", async () => {
  let got = "";
  const { socket } = connectDownstream({
    allowConnect: true,
    async serve(session) {
      assert.equal(session.head.target, "a.example:443");
      assert.equal(session.head.authority, "a.example:443");
      session.writeHead(new ResponseHead(200), { kind: "none" });
      session.startTunnel();
      got = text(await session.readBody());
      await session.writeBody(bytes("pong"), false);
      await session.flush();
      session.closeTunnelWrite();
    },
  });
  socket.feed("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nping");
  await settled();
  assert.equal(got, "ping");
  assert.match(socket.text, /^HTTP\/1.1 200 OK\r\nDate: [^\r]+\r\n\r\npong$/);
});

Deno.test("a tunnel has no deadline on the client's side, and ends by a break", async () => {
  let failure: ProxyError | null = null;
  const { socket, pass } = connectDownstream({
    limits: { bodyTimeout: 100, headerTimeout: 100, keepAliveTimeout: 100 },
    async serve(session) {
      session.onFailure = (error) => failure = error;
      switchTo(session);
      await assert.rejects(async () => await session.readBody(), { type: "client_closed" });
    },
  });
  socket.feed(UPGRADE);
  await pass(100_000);
  assert.equal(socket.closed, false);
  socket.break(new ProxyError("read_error", "reset"));
  await settled();
  assert.equal(failure!.type, "client_closed");
});

function upgradeHead(): RequestHead {
  return new RequestHead({
    method: "GET",
    version: 11,
    target: "/ws",
    fields: Fields.from([["Host", "a"], ["Upgrade", "websocket"]]),
  });
}

Deno.test("toward the upstream an upgrade is asked for, and bytes behind its 101 are the tunnel's", async () => {
  for (const readSize of [1e9, 1]) {
    const { socket, connection, events } = connectUpstream({ readSize });
    const session = connection.begin("GET");
    session.writeHead(upgradeHead(), { kind: "none" });
    session.flush();
    assert.equal(
      socket.text,
      "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    );
    socket.feed(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    );
    const head = await session.readHead();
    assert.equal(head.status, 101);
    assert.deepEqual([...head.fields], [["Upgrade", "websocket"]]);
    assert.equal(text(await session.readBody()), "");
    session.startTunnel();
    let got = "";
    while (got.length < 5) got += text(await session.readBody());
    assert.equal(got, "hello");
    await session.writeBody(bytes("there"), false);
    await session.flush();
    session.closeTunnelWrite();
    assert(socket.finished);
    assert.match(socket.text, /\r\n\r\nthere$/);
    socket.feed("last");
    socket.feedEnd();
    got = "";
    while (!session.bodyDone) got += text(await session.readBody());
    assert.equal(got, "last");
    session.release();
    assert.deepEqual(events, ["closed"]);
  }
});

Deno.test("a tunnel may be silent for longer than readTimeout, on the upstream's side as well", async () => {
  const { socket, connection, pass } = connectUpstream({ timeouts: { readTimeout: 1000 } });
  const session = connection.begin("GET");
  session.writeHead(upgradeHead(), { kind: "none" });
  session.flush();
  socket.feed("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  await session.readHead();
  session.startTunnel();
  const reading = Promise.resolve(session.readBody());
  await pass(100_000);
  session.writeBody(bytes("x"), false);
  session.flush();
  await pass(100_000);
  socket.feed("still here");
  assert.equal(text(await reading), "still here");
});

Deno.test("content of a response may pause for as long as it likes, if the session is told so", async () => {
  const { socket, connection, pass } = connectUpstream({ timeouts: { readTimeout: 1000 } });
  const session = connection.begin("POST");
  session.writeHead(upgradeHead(), { kind: "none" });
  session.flush();
  session.allowSilence();
  socket.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  await session.readHead();
  const reading = Promise.resolve(session.readBody());
  await pass(100_000);
  socket.feed("3\r\nend\r\n");
  assert.equal(text(await reading), "end");
});

Deno.test("content of a request may pause and trickle, if the session is told so", async () => {
  const got: string[] = [];
  const { socket, pass } = connectDownstream({
    limits: { bodyTimeout: 100, bodyMinRate: 1000 },
    async serve(session) {
      session.allowSilence();
      while (!session.bodyDone) got.push(text(await session.readBody()));
      await answerOk(session);
    },
  });
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
  for (const byte of "abc") {
    await pass(100_000);
    socket.feed(byte);
    await settled();
  }
  assert.equal(got.join(""), "abc");
  assert.match(socket.text, /^HTTP\/1.1 200 OK\r\n/);
});

Deno.test("a tunnel whose upstream has finished can be cut while the client says nothing", async () => {
  let failed: unknown = null;
  const { socket } = connectDownstream({
    async serve(session) {
      switchTo(session);
      session.closeTunnelWrite();
      const reading = session.readBody();
      session.abort(new ProxyError("tunnel_idle_timeout", "silent"));
      await Promise.resolve(reading).catch((error) => failed = error);
    },
  });
  socket.feed(UPGRADE);
  await settled();
  assert.equal((failed as unknown as ProxyError).type, "tunnel_idle_timeout");
  assert(socket.closed);
});

Deno.test("a 101 from the upstream that nobody asked for is invalid", async () => {
  const { socket, connection } = connectUpstream();
  const session = connection.begin("GET");
  const head = new RequestHead({
    method: "GET",
    version: 11,
    target: "/",
    fields: Fields.from([["Host", "a"]]),
  });
  session.writeHead(head, { kind: "none" });
  session.flush();
  socket.feed("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  await assert.rejects(async () => await session.readHead(), { type: "invalid_response" });
});
