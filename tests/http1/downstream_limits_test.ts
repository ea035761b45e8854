import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { ResponseHead } from "../../src/http/message.ts";
import type { DownstreamSession } from "../../src/http/session.ts";
import { answerOk, bytes, connectDownstream, echo, readAll } from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** Answers what fails while content is read as the proxy does. */
async function echoOrError(session: DownstreamSession): Promise<void> {
  try {
    await echo(session);
  } catch (error) {
    assert(error instanceof ProxyError);
    session.writeHead(new ResponseHead(error.status), { kind: "none" });
  }
}

function status(text: string): number {
  return Number(text.slice(9, 12));
}

async function exchange(
  raw: string,
  options: Parameters<typeof connectDownstream>[0],
): Promise<number> {
  const statuses = new Set<number>();
  for (const more of [{}, { eager: true }, { readSize: 1 }, { readSize: 7 }]) {
    const { socket } = connectDownstream({ serve: echoOrError, ...options, ...more });
    socket.feed(raw);
    for (let i = 0; i < 100 && socket.text === ""; i++) await settled();
    statuses.add(status(socket.text));
  }
  assert.equal(statuses.size, 1, "the verdict depends on how the bytes were cut");
  return [...statuses][0]!;
}

Deno.test("a head of exactly the limit passes, and one byte more is 431", async () => {
  for (const headBytes of [200, 2048, 3000]) {
    const rest = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".length;
    const head = (length: number) =>
      `GET / HTTP/1.1\r\nHost: a\r\nA: ${"b".repeat(length - rest)}\r\n\r\n`;
    assert.equal(await exchange(head(headBytes), { limits: { headBytes } }), 200);
    assert.equal(await exchange(head(headBytes + 1), { limits: { headBytes } }), 431);
  }
});

Deno.test("a head that never ends is refused at the limit, wherever it goes on", async () => {
  for (const start of ["", "GET /", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nA"]) {
    const { socket } = connectDownstream({ limits: { headBytes: 4096, targetBytes: 100_000 } });
    socket.feed(start + "a".repeat(4096 - start.length - 1));
    await settled();
    assert.equal(socket.text, "");
    socket.feed("a");
    await settled();
    assert.equal(status(socket.text), 431);
  }
});

Deno.test("exactly as many fields as allowed pass, and one more is 431", async () => {
  for (const fields of [3, 100, 128, 200]) {
    const head = (count: number) =>
      `GET / HTTP/1.1\r\nHost: a\r\n${"A: b\r\n".repeat(count - 1)}\r\n`;
    assert.equal(await exchange(head(fields), { limits: { fields } }), 200);
    assert.equal(await exchange(head(fields + 1), { limits: { fields } }), 431);
  }
});

Deno.test("a target of exactly the limit passes, and one byte more is 414", async () => {
  const head = (length: number) => `GET /${"a".repeat(length - 1)} HTTP/1.1\r\nHost: a\r\n\r\n`;
  assert.equal(await exchange(head(50), { limits: { targetBytes: 50 } }), 200);
  assert.equal(await exchange(head(51), { limits: { targetBytes: 50 } }), 414);
});

Deno.test("content of exactly the limit passes, and one byte more is 413", async () => {
  const plain = (length: number) =>
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${"x".repeat(length)}`;
  const chunked = (length: number) =>
    `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n` +
    "1\r\nx\r\n".repeat(length) + "0\r\n\r\n";
  for (const make of [plain, chunked]) {
    assert.equal(await exchange(make(20), { limits: { bodyBytes: 20 } }), 200);
    assert.equal(await exchange(make(21), { limits: { bodyBytes: 20 } }), 413);
  }
});

Deno.test("limitBody lowers the limit later, and 0 takes it off", async () => {
  for (const [limit, expected] of [[4, 413], [5, 200], [0, 200]] as const) {
    const raw = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    const got = await exchange(raw, {
      limits: { bodyBytes: limit === 0 ? 2 : 0 },
      serve(session) {
        session.limitBody(limit);
        return echoOrError(session);
      },
    });
    assert.equal(got, expected);
  }
});

Deno.test("a chunk line of exactly the limit passes, and one byte more is 400", async () => {
  const raw = (length: number) =>
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
    `1;${"e".repeat(length - 2)}\r\nx\r\n0\r\n\r\n`;
  assert.equal(await exchange(raw(30), { chunkLimits: { lineBytes: 30 } }), 200);
  assert.equal(await exchange(raw(31), { chunkLimits: { lineBytes: 30 } }), 400);
});

Deno.test("a flood of chunk extensions is refused though every line is short", async () => {
  const raw = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
    `1;${"e".repeat(900)}\r\nx\r\n`.repeat(200) + "0\r\n\r\n";
  const { socket } = connectDownstream({ serve: echoOrError });
  socket.feed(raw);
  for (let i = 0; i < 20; i++) await settled();
  assert.equal(status(socket.text), 400);
});

Deno.test("trailers within the limits pass, and over them are 431", async () => {
  const raw = (fields: number) =>
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" +
    "A: b\r\n".repeat(fields) + "\r\n";
  const bytesOf = (fields: number) => fields * 6 + 2;
  assert.equal(await exchange(raw(4), { chunkLimits: { trailerFields: 4 } }), 200);
  assert.equal(await exchange(raw(5), { chunkLimits: { trailerFields: 4 } }), 431);
  assert.equal(await exchange(raw(4), { chunkLimits: { trailerBytes: bytesOf(4) } }), 200);
  assert.equal(await exchange(raw(5), { chunkLimits: { trailerBytes: bytesOf(4) } }), 431);
});

Deno.test("a fresh connection that sends nothing is closed without a word", async () => {
  const { socket, closed, refusals, pass } = connectDownstream({ limits: { headerTimeout: 1000 } });
  await pass(980);
  assert.equal(socket.closed, false);
  await pass(60);
  assert(socket.closed);
  assert.equal(socket.text, "");
  assert.equal(refusals.length, 0);
  assert.equal(closed.count, 1);
});

Deno.test("a head must be complete in time, counted from its first byte: 408", async () => {
  const { socket, pass } = connectDownstream({
    limits: { headerTimeout: 1000, keepAliveTimeout: 60_000 },
  });
  socket.feed(GET);
  await pass(30_000);
  socket.clear();
  socket.feed("GET");
  await pass(500);
  socket.feed(" / HTTP/1.1\r\n");
  await pass(480);
  assert.equal(socket.text, "");
  socket.feed("Host: a\r\n");
  await pass(60);
  assert.equal(status(socket.text), 408);
  assert(socket.finished);
});

Deno.test("an idle connection is closed without a word after keepAliveTimeout", async () => {
  const { socket, pass } = connectDownstream({ limits: { keepAliveTimeout: 5000 } });
  socket.feed(GET);
  await pass(4900);
  socket.feed(GET);
  await pass(4900);
  assert.equal(socket.closed, false);
  socket.clear();
  await pass(200);
  assert(socket.closed);
  assert.equal(socket.text, "");
});

Deno.test("serving may take longer than any deadline of the connection", async () => {
  const gate = Promise.withResolvers<void>();
  const { socket, pass } = connectDownstream({
    limits: { headerTimeout: 100, keepAliveTimeout: 100, bodyTimeout: 100 },
    async serve(session) {
      await gate.promise;
      answerOk(session);
    },
  });
  socket.feed(GET);
  await pass(60_000);
  assert.equal(socket.closed, false);
  gate.resolve();
  await settled();
  assert.equal(status(socket.text), 200);
});

Deno.test("content must go on coming: 408", async () => {
  const { socket, pass } = connectDownstream({
    serve: echoOrError,
    limits: { bodyTimeout: 1000 },
  });
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
  for (const byte of "ab") {
    await pass(900);
    assert.equal(socket.text, "");
    socket.feed(byte);
  }
  await pass(900);
  assert.equal(socket.text, "");
  await pass(200);
  assert.equal(status(socket.text), 408);
  assert.match(socket.text, /Connection: close/);
});

Deno.test("content must come at the minimum rate, once the grace is over: 408", async () => {
  for (const [perSecond, expected] of [[50, 408], [150, 200]] as const) {
    const { socket, pass } = connectDownstream({
      serve: echoOrError,
      limits: { bodyTimeout: 2000, bodyMinRate: 100 },
    });
    socket.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1500\r\n\r\n");
    for (let second = 0; second < 40 && socket.text === ""; second++) {
      await pass(1000);
      socket.feed("x".repeat(perSecond));
      await settled();
    }
    assert.equal(status(socket.text), expected);
  }
});

Deno.test("a client that does not read is cut after writeTimeout", async () => {
  let failure: ProxyError | null = null;
  let thrown: unknown = null;
  const { socket, closed, pass } = connectDownstream({
    limits: { writeTimeout: 1000 },
    async serve(session) {
      session.onFailure = (error) => failure = error;
      session.writeHead(new ResponseHead(200), { kind: "length", length: 200_000 });
      try {
        await session.writeBody(new Uint8Array(100_000), false);
      } catch (error) {
        thrown = error;
      }
    },
  });
  socket.stalled = true;
  socket.feed(GET);
  await pass(900);
  assert.equal(socket.closed, false);
  await pass(200);
  assert(socket.destroyed);
  assert.equal(failure!.type, "write_timeout");
  assert.equal(thrown, failure);
  assert.equal(closed.count, 1);
});

Deno.test("minSendRate gives a write the time that its size deserves, at least a second", async () => {
  const { socket, pass } = connectDownstream({
    limits: { writeTimeout: 10, minSendRate: 10_000 },
    async serve(session) {
      session.writeHead(new ResponseHead(200), { kind: "length", length: 100_000 });
      await session.writeBody(new Uint8Array(100_000), true);
    },
  });
  socket.stalled = true;
  socket.feed(GET);
  await pass(9_900);
  assert.equal(socket.closed, false);
  await pass(400);
  assert(socket.destroyed);
});

Deno.test("unread content is read over before the next request, up to drainBytes", async () => {
  const post = (length: number) =>
    `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${length.toString(16)}\r\n` +
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".padEnd(length, "x") + "\r\n0\r\n\r\n";
  for (const [length, requests] of [[1000, 2], [1001, 1]] as const) {
    for (const readSize of [1e9, 1, 100]) {
      const { socket, sessions } = connectDownstream({ readSize, limits: { drainBytes: 1000 } });
      socket.feed(post(length) + GET);
      for (let i = 0; i < 5; i++) await settled();
      assert.equal(sessions.length, requests);
      assert.equal(socket.finished, requests === 1);
    }
  }
});

Deno.test("a length over drainBytes closes at once, and the response says so", async () => {
  const post = (length: number) =>
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
  const small = connectDownstream({ limits: { drainBytes: 100 } });
  small.socket.feed(post(100));
  await settled();
  assert(!small.socket.text.includes("Connection: close"));
  small.socket.feed("x".repeat(100) + GET);
  await settled();
  assert.equal(small.sessions.length, 2);

  const large = connectDownstream({ limits: { drainBytes: 100 } });
  large.socket.feed(post(101) + "x".repeat(101) + GET);
  await settled();
  assert.match(large.socket.text, /Connection: close/);
  assert.equal(large.sessions.length, 1);
});

Deno.test("unread content has drainTimeout to come, then the connection closes", async () => {
  const { socket, sessions, pass } = connectDownstream({ limits: { drainTimeout: 1000 } });
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab");
  await pass(900);
  assert.equal(socket.finished, false);
  await pass(200);
  assert(socket.finished);
  socket.feed(`cdefghij${GET}`);
  await settled();
  assert.equal(sessions.length, 1);
});

Deno.test("content that turns out malformed while it is read over closes the connection", async () => {
  const { socket, sessions } = connectDownstream();
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" + GET);
  await settled();
  assert.equal(sessions.length, 1);
  assert(socket.finished);
});

Deno.test("every way to answer early leaves no content behind to be taken for a request", async () => {
  const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
  const ways: ((session: DownstreamSession) => void | Promise<void>)[] = [
    answerOk,
    (session) => session.writeHead(new ResponseHead(304), { kind: "none" }),
    async (session) => {
      await session.readBody();
      answerOk(session);
    },
    async (session) => {
      await settled();
      session.keepAlive = false;
      answerOk(session);
    },
    () => {},
  ];
  for (const serve of ways) {
    for (const readSize of [1e9, 3]) {
      const { socket, sessions } = connectDownstream({ serve, readSize });
      socket.feed(
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${smuggled.length * 2}\r\n\r\n` + smuggled +
          smuggled + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
      );
      for (let i = 0; i < 8; i++) await settled();
      assert(sessions.length <= 2);
      assert(sessions.length === 1 || !socket.finished);
    }
  }
});

Deno.test("reading content while it is drained by nobody costs no more than one buffer", async () => {
  const { socket } = connectDownstream({ serve: () => new Promise<void>(() => {}) });
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
  socket.feed(new Uint8Array(10_000_000));
  await settled();
  assert(socket.unread > 9_990_000);
});

Deno.test("a request behind a large body of known length is the next one", async () => {
  const bodies: number[] = [];
  const { socket } = connectDownstream({
    async serve(session) {
      bodies.push((await readAll(session)).length);
      answerOk(session);
    },
  });
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
  await settled();
  socket.feed(bytes("x".repeat(5000) + GET));
  await settled();
  assert.deepEqual(bodies, [5000, 0]);
});
