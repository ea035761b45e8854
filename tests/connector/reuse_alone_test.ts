/**
 * After which answers a connection may carry another request, over real sockets; with what becomes of the others.
 *
 * @module
 */
import { equal, notEqual, rejects } from "node:assert/strict";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead } from "../../src/http/message.ts";
import { NO_CONTENT } from "../../src/http/session.ts";
import { openSockets, settle, socketsDownTo } from "../support/recorder.ts";
import { exchange, HELLO, Origin, Use } from "./real_upstream.ts";

const REUSED: Readonly<Record<string, string>> = {
  "a length": HELLO,
  "chunked content": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "a 204": "HTTP/1.1 204 No Content\r\n\r\n",
  "a 1xx before it": `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${HELLO}`,
  "HTTP/1.0 with keep-alive":
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
};

const NOT_REUSED: Readonly<Record<string, readonly [answer: string, why: string]>> = {
  "Connection: close": [
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    "not_reusable:1",
  ],
  "HTTP/1.0": ["HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "not_reusable:1"],
  "more content than announced": [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
    "stray_bytes:1",
  ],
  "bytes behind the last chunk": [
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200",
    "stray_bytes:1",
  ],
  "content behind a 204": ["HTTP/1.1 204 No Content\r\n\r\nhello", "stray_bytes:1"],
};

for (const [what, answer] of Object.entries(REUSED)) {
  Deno.test(`a connection is used again after ${what}`, async () => {
    await using origin = new Origin();
    await using use = new Use();
    origin.answers = [answer];
    const peer = origin.peer();
    const first = await use.fetch(peer);
    equal(await use.fetch(peer), first);
    equal(origin.accepted, 1);
    equal(use.connector.stats().history.get(peer.label)!.reused, 1);
  });
}

for (const [what, [answer, why]] of Object.entries(NOT_REUSED)) {
  Deno.test(`a connection is not used again after ${what}`, async () => {
    await using origin = new Origin();
    await using use = new Use();
    origin.answers = [answer, HELLO];
    const peer = origin.peer();
    await use.fetch(peer);
    await settle(1);
    equal(use.connector.stats().idle, 0);
    equal(await use.fetch(peer), "200 hello");
    equal(origin.accepted, 2);
    equal(use.evicted(peer), why);
  });
}

Deno.test("a connection is not used again after content that ends with it", async () => {
  await using origin = new Origin();
  await using use = new Use();
  origin.answers = ["HTTP/1.1 200 OK\r\n\r\nhello<close>", HELLO];
  const peer = origin.peer();
  equal(await use.fetch(peer), "200 hello<close>");
  equal(use.connector.stats().idle, 0);
  equal(await use.fetch(peer), "200 hello");
  equal(origin.accepted, 2);
});

Deno.test("a connection is not used again after a 101", async () => {
  await using origin = new Origin();
  await using use = new Use();
  origin.answers = [
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
  ];
  const peer = origin.peer();
  const session = await use.session(peer);
  const fields = new Fields();
  fields.append("host", "origin.test");
  fields.append("upgrade", "x");
  session.writeHead(
    new RequestHead({ method: "GET", version: 11, fields, target: "/" }),
    NO_CONTENT,
  );
  await session.flush();
  equal((await session.readHead()).status, 101);
  session.startTunnel();
  session.release();
  equal(use.connector.stats().idle, 0);
});

Deno.test("a connection is not used again when the response was not read to its end", async () => {
  await using origin = new Origin();
  await using use = new Use();
  origin.answers = ["HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"];
  const peer = origin.peer();
  const session = await use.session(peer);
  const fields = new Fields();
  fields.append("host", "origin.test");
  session.writeHead(
    new RequestHead({ method: "GET", version: 11, fields, target: "/" }),
    NO_CONTENT,
  );
  await session.flush();
  await session.readHead();
  session.release();
  equal(use.connector.stats().idle, 0);
  equal(use.evicted(peer), "not_reusable:1");
});

Deno.test("what both Content-Length and Transfer-Encoding frame is refused, and its connection closed", async () => {
  await using origin = new Origin();
  await using use = new Use();
  const both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (
    const answer of [
      both,
      both.replace("1.1", "1.0"),
      both.replace(/Content.*?\r\n/, "").replace("1.1", "1.0"),
    ]
  ) {
    origin.answers = [answer];
    const session = await use.session(origin.peer());
    await rejects(exchange(session), { type: "invalid_response" });
    session.abort();
    equal(use.connector.stats().idle, 0);
  }
});

Deno.test("an idle connection that the peer closes, or talks on, is counted as such", async () => {
  await using origin = new Origin();
  await using use = new Use();
  const peer = origin.peer();
  await use.fetch(peer);
  origin.connections[0]!.close();
  await until(() => use.connector.stats().idle === 0);
  await use.fetch(peer);
  await origin.connections[1]!.write(new Uint8Array(1));
  await until(() => use.connector.stats().idle === 0);
  equal(use.evicted(peer), "peer_closed:1,stray_bytes:1");
});

Deno.test("connections that are kept warm are real: used, missed when they go, none left behind", async () => {
  const before = openSockets();
  {
    await using origin = new Origin();
    await using use = new Use("handle");
    const peer = origin.peer({ prewarm: 2, maxAge: 60_000 });
    const end = use.connector.keepWarm(peer);
    await until(() => use.connector.stats().idle === 2);
    await until(() => origin.accepted === 2);
    const session = use.connector.take(peer, "GET");
    notEqual(session, null);
    // It has been idle: it may be dead, and its request be tried again like on any used one.
    equal(session!.reused, true);
    equal(await exchange(session!), "200 hello");
    session!.release();
    await until(() => use.connector.stats().idle === 3);
    for (const one of origin.connections.splice(0)) one.close();
    await until(() => origin.accepted >= 5 && use.connector.stats().idle === 2);
    equal(use.evicted(peer), "peer_closed:3");
    end();
  }
  equal(await socketsDownTo(before), before);
});

Deno.test("how long connecting took is remembered", async () => {
  await using origin = new Origin();
  await using use = new Use();
  const peer = origin.peer({ maxRequests: 1 });
  for (let i = 0; i < 3; i++) await use.fetch(peer);
  const { connect, tls, lookup, opened } = use.connector.stats().history.get(peer.label)!;
  equal(`${opened} ${connect.count} ${tls.count} ${lookup.count}`, "3 3 0 0");
  equal(connect.total >= connect.max && connect.max >= connect.last && connect.last > 0, true);
  equal(use.evicted(peer), "max_requests:3");
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !condition(); i++) await settle(1);
  equal(condition(), true);
}
