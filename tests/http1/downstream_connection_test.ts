import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { ResponseHead } from "../../src/http/message.ts";
import { STREAM } from "../../src/http/session.ts";
import type { DownstreamSession } from "../../src/http/session.ts";
import {
  answerOk,
  bytes,
  collectReports,
  connectDownstream,
  echo,
  readAll,
  text,
  withoutDate,
} from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

Deno.test("a head and a small body go out in one write, with a Date", async () => {
  const { socket } = connectDownstream();
  socket.feed(GET);
  await settled();
  assert.equal(withoutDate(socket.text), OK);
  assert.match(socket.text, /\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/);
  assert.equal(socket.writes, 1);
});

Deno.test("a Date that is there is kept", async () => {
  const { socket } = connectDownstream({
    serve(session) {
      const fields = Fields.from([["Date", "Thu, 01 Jan 1970 00:00:00 GMT"]]);
      session.writeHead(new ResponseHead(204, fields), { kind: "none" });
    },
  });
  socket.feed(GET);
  await settled();
  assert.equal(
    socket.text,
    "HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
  );
});

Deno.test("pipelined requests are answered in order, one at a time", async () => {
  const targets: string[] = [];
  const gates: (() => void)[] = [];
  const { socket } = connectDownstream({
    async serve(session) {
      targets.push(session.head.target);
      await new Promise<void>((resolve) => gates.push(resolve));
      session.writeHead(new ResponseHead(200), { kind: "length", length: 1 });
      await session.writeBody(bytes(targets.at(-1)!.slice(1)), true);
    },
  });
  for (const name of ["1", "2", "3"]) socket.feed(`GET /${name} HTTP/1.1\r\nHost: a\r\n\r\n`);
  for (let served = 1; served <= 3; served++) {
    await settled();
    assert.equal(targets.length, served);
    gates.shift()!();
  }
  await settled();
  assert.deepEqual(targets, ["/1", "/2", "/3"]);
  assert.deepEqual(socket.text.match(/\r\n\r\n\d/g), ["\r\n\r\n1", "\r\n\r\n2", "\r\n\r\n3"]);
});

Deno.test("a flood of pipelined requests is not read while one is served", async () => {
  const { socket } = connectDownstream({ serve: () => new Promise<void>(() => {}) });
  socket.feed(GET.repeat(10_000));
  await settled();
  assert(socket.unread > GET.length * 10_000 - 16 * 1024, `${socket.unread} left`);
});

Deno.test("many pipelined requests served at once do not nest", async () => {
  const { socket, sessions } = connectDownstream();
  socket.feed(GET.repeat(9_999));
  await settled();
  for (let i = 0; i < 1000 && socket.unread > 0; i++) await settled();
  assert.equal(sessions.length, 9_999);
});

Deno.test("no request is taken up while the client does not read the response before it", async () => {
  const { socket, sessions } = connectDownstream();
  socket.stalled = true;
  socket.feed(GET.repeat(50));
  await settled();
  assert.equal(sessions.length, 1);
  socket.drain();
  await settled();
  assert.equal(sessions.length, 50);
});

Deno.test("HTTP/1.1 stays open, unless Connection says close", async () => {
  const { socket } = connectDownstream();
  socket.feed(GET);
  await settled();
  assert.equal(socket.finished, false);
  socket.clear();
  socket.feed("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n");
  await settled();
  assert.match(socket.text, /\r\nConnection: close\r\n/);
  assert(socket.finished);
});

Deno.test("HTTP/1.0 closes, unless Connection says keep-alive", async () => {
  const { socket } = connectDownstream();
  socket.feed("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
  await settled();
  assert.match(socket.text, /\r\nConnection: keep-alive\r\n/);
  assert.equal(socket.finished, false);
  socket.clear();
  socket.feed("GET / HTTP/1.0\r\n\r\n");
  await settled();
  assert.match(socket.text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(socket.text, /\r\nConnection: close\r\n/);
  assert(socket.finished);
});

Deno.test("the last request that a connection may carry is told so", async () => {
  const { socket, sessions } = connectDownstream({ limits: { requestsPerConnection: 2 } });
  socket.feed(GET + GET + GET);
  await settled();
  assert.equal(sessions.length, 2);
  assert.deepEqual(sessions.map((session) => session.requestNumber), [1, 2]);
  assert.equal(socket.text.match(/Connection: close/g)?.length, 1);
  assert(socket.finished);
});

Deno.test("the answer to HEAD has a length and no content", async () => {
  const { socket } = connectDownstream();
  socket.feed("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET);
  await settled();
  assert.equal(
    withoutDate(socket.text),
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + OK,
  );
});

Deno.test("204 and 304 have no content, and 204 no length", async () => {
  const statuses = [204, 304];
  const { socket } = connectDownstream({
    serve(session) {
      session.writeHead(new ResponseHead(statuses.shift()!), { kind: "length", length: 5 });
      session.writeBody(bytes("hello"), true);
    },
  });
  socket.feed(GET + GET);
  await settled();
  assert.equal(
    withoutDate(socket.text),
    "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
  );
});

async function stream(session: DownstreamSession): Promise<void> {
  session.writeHead(new ResponseHead(200), STREAM);
  await session.writeBody(bytes("abc"), false);
  await session.flush();
  await session.writeBody(bytes("x".repeat(20)), false);
  await session.endBody(Fields.from([["X-Sum", "1"], ["Content-Length", "7"]]));
}

Deno.test("content of unknown length is chunked; trailers only for who takes them", async () => {
  const { socket } = connectDownstream({ serve: stream });
  socket.feed(GET);
  await settled();
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const chunks = `3\r\nabc\r\n14\r\n${"x".repeat(20)}\r\n0\r\n`;
  assert.equal(withoutDate(socket.text), `${head}${chunks}\r\n`);
  socket.clear();
  socket.feed("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
  await settled();
  assert.equal(withoutDate(socket.text), `${head}${chunks}X-Sum: 1\r\n\r\n`);
  assert.equal(socket.finished, false);
});

Deno.test("content whose length was said has no place for trailers: they are left out, and the next response is whole", async () => {
  const { socket } = connectDownstream({
    async serve(session) {
      session.writeHead(new ResponseHead(200), { kind: "length", length: 2 });
      await session.writeBody(bytes("ok"), false);
      await session.endBody(Fields.from([["X-Sum", "1"]]));
    },
  });
  const request = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
  socket.feed(request + request);
  await settled();
  assert.equal(withoutDate(socket.text), OK + OK);
});

Deno.test("content of unknown length ends with the connection on HTTP/1.0", async () => {
  const { socket } = connectDownstream({ serve: stream });
  socket.feed("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  await settled();
  assert.equal(
    withoutDate(socket.text),
    `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc${"x".repeat(20)}`,
  );
  assert(socket.finished);
});

Deno.test("framing and connection fields that came along never reach the wire", async () => {
  const { socket } = connectDownstream({
    serve(session) {
      const fields = Fields.from([
        ["Content-Length", "9"],
        ["transfer-encoding", "chunked"],
        ["Connection", "x-secret"],
        ["Keep-Alive", "timeout=5"],
        ["X-Kept", "1"],
      ]);
      session.writeHead(new ResponseHead(200, fields), { kind: "length", length: 2 });
      session.writeBody(bytes("ok"), true);
    },
  });
  socket.feed(GET);
  await settled();
  assert.equal(
    withoutDate(socket.text),
    "HTTP/1.1 200 OK\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok",
  );
});

Deno.test("a reason that could end the line is replaced", async () => {
  const { socket } = connectDownstream({
    serve(session) {
      session.writeHead(new ResponseHead(404, new Fields(), "No\r\nX: y"), { kind: "none" });
    },
  });
  socket.feed(GET);
  await settled();
  assert.equal(withoutDate(socket.text), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
});

Deno.test("hop-by-hop fields, nominated ones and framing are gone before anybody looks", async () => {
  let fields: [string, string][] = [];
  const { socket } = connectDownstream({
    async serve(session) {
      fields = [...session.head.fields];
      await echo(session);
    },
  });
  socket.feed(
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Private, Authorization, X-Forwarded-For, Host\r\n" +
      "X-Private: 1\r\nAuthorization: b\r\nX-Forwarded-For: c\r\nKeep-Alive: 1\r\nTE: trailers\r\n" +
      "Proxy-Connection: x\r\nTrailer: y\r\nUpgrade: z\r\nContent-Length: 1\r\nX-Last: d\r\n\r\n!",
  );
  await settled();
  assert.deepEqual(fields, [
    ["Host", "a"],
    ["Authorization", "b"],
    ["X-Forwarded-For", "c"],
    ["X-Last", "d"],
  ]);
});

Deno.test("request trailers are handed out without the forbidden ones", async () => {
  let trailers: [string, string][] = [];
  const { socket } = connectDownstream({
    async serve(session) {
      await readAll(session);
      trailers = [...session.trailers!];
      answerOk(session);
    },
  });
  socket.feed(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\nHost: b\r\n" +
      "Content-Length: 5\r\nTransfer-Encoding: x\r\nAuthorization: y\r\nCache-Control: z\r\nx-b: 2\r\n\r\n",
  );
  await settled();
  assert.deepEqual(trailers, [["X-A", "1"], ["x-b", "2"]]);
});

Deno.test("Expect: 100-continue is told to the session, whose 100 goes out at once", async () => {
  const { socket } = connectDownstream({
    async serve(session) {
      assert.equal(session.expectsContinue, session.requestNumber === 1);
      if (session.expectsContinue) session.writeInformational(new ResponseHead(100));
      await echo(session);
    },
  });
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
  await settled();
  assert.equal(socket.text, "HTTP/1.1 100 Continue\r\n\r\n");
  socket.clear();
  socket.feed("hi" + GET);
  await settled();
  assert.equal(withoutDate(socket.text).match(/HTTP\/1.1 200 OK/g)?.length, 2);
});

Deno.test("who was never told to continue is not read on: the connection closes", async () => {
  const { socket, sessions } = connectDownstream();
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  socket.feed(GET);
  await settled();
  assert.equal(sessions.length, 1);
  assert.match(socket.text, /Connection: close/);
  assert(socket.finished);
});

Deno.test("1xx heads are passed on to HTTP/1.1 and never to HTTP/1.0", async () => {
  const { socket } = connectDownstream({
    serve(session) {
      session.writeInformational(new ResponseHead(103, Fields.from([["Link", "</a>"]])));
      answerOk(session);
    },
  });
  socket.feed(GET + "GET / HTTP/1.0\r\n\r\n");
  await settled();
  assert(
    withoutDate(socket.text).startsWith(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`),
  );
  assert.equal(socket.text.match(/103/g)?.length, 1);
});

Deno.test("a client that goes away is told of once, and the session's calls fail", async () => {
  for (const how of ["end", "break"]) {
    const failures: ProxyError[] = [];
    let thrown: unknown = null;
    const { socket, closed } = connectDownstream({
      async serve(session) {
        await new Promise<void>((resolve) => {
          session.onFailure = (error) => {
            failures.push(error);
            resolve();
          };
        });
        try {
          answerOk(session);
        } catch (error) {
          thrown = error;
        }
      },
    });
    socket.feed(GET);
    await settled();
    if (how === "end") socket.feedEnd();
    else socket.break(new ProxyError("read_error", "reset"));
    await settled();
    assert.deepEqual(failures.map((error) => error.type), ["client_closed"]);
    assert.equal(failures[0]!.source, "downstream");
    assert.equal(thrown, failures[0]);
    assert(socket.closed);
    assert.equal(closed.count, 1);
    assert.equal(socket.text, "");
  }
});

Deno.test("without abortOnClose a half-closed client still gets its response", async () => {
  const gate = Promise.withResolvers<void>();
  const { socket, closed } = connectDownstream({
    abortOnClose: false,
    async serve(session) {
      await gate.promise;
      answerOk(session);
    },
  });
  socket.feed(GET);
  await settled();
  socket.feedEnd();
  await settled();
  assert.equal(socket.closed, false);
  gate.resolve();
  await settled();
  assert.match(socket.text, /^HTTP\/1.1 200 OK\r\n.*Connection: close\r\n.*ok$/s);
  assert(socket.closed && !socket.destroyed);
  assert.equal(closed.count, 1);
});

Deno.test("bytes instead of an end are the next request, not a failure", async () => {
  const gate = Promise.withResolvers<void>();
  let failed = false;
  const { socket, sessions } = connectDownstream({
    async serve(session) {
      session.onFailure = () => failed = true;
      await gate.promise;
      answerOk(session);
    },
  });
  socket.feed(GET);
  await settled();
  socket.feed(GET);
  await settled();
  assert.equal(failed, false);
  gate.resolve();
  await settled();
  assert.equal(sessions.length, 2);
  assert.equal(withoutDate(socket.text), OK + OK);
});

Deno.test("a body cut short by the client fails the reader", async () => {
  let thrown: unknown = null;
  const { socket } = connectDownstream({
    async serve(session) {
      try {
        await readAll(session);
      } catch (error) {
        thrown = error;
      }
    },
  });
  socket.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
  await settled();
  socket.feedEnd();
  await settled();
  assert(thrown instanceof ProxyError);
  assert.equal(thrown.type, "client_closed");
  assert(socket.destroyed);
});

Deno.test("more content than announced is an error of ours and stays off the wire", async () => {
  let thrown: unknown = null;
  const { socket } = connectDownstream({
    serve(session) {
      session.writeHead(new ResponseHead(200), { kind: "length", length: 2 });
      try {
        session.writeBody(bytes("abc"), true);
      } catch (error) {
        thrown = error;
      }
    },
  });
  socket.feed(GET);
  await settled();
  assert(thrown instanceof ProxyError);
  assert.equal(thrown.type, "internal_error");
  assert(!socket.text.includes("abc"));
  assert(socket.destroyed);
});

Deno.test("a response cut short closes the connection, so that the client sees it", async () => {
  const cases: ((session: DownstreamSession) => void)[] = [
    (session) => {
      session.writeHead(new ResponseHead(200), { kind: "length", length: 5 });
      session.writeBody(bytes("ab"), false);
      session.flush();
    },
    (session) => {
      session.writeHead(new ResponseHead(200), STREAM);
      session.writeBody(bytes("ab"), false);
      session.flush();
      session.onFailure = () => assert.fail("told of its own doing");
      session.abort(new ProxyError("incomplete_response", "cut"));
    },
  ];
  for (const serve of cases) {
    const { socket, closed } = connectDownstream({ serve });
    socket.feed(GET + GET);
    await settled();
    assert(socket.destroyed);
    assert.equal(closed.count, 1);
    assert.match(socket.text, /ab(\r\n)?$/);
    assert(!socket.text.includes("0\r\n\r\n"));
  }
});

Deno.test("a bug in serve ends its connection only, and is reported", async () => {
  for (
    const serve of [
      () => {
        throw new Error("sync bug");
      },
      () => Promise.reject(new Error("async bug")),
    ]
  ) {
    const reports = await collectReports(async () => {
      const { socket, closed } = connectDownstream({ serve });
      socket.feed(GET);
      await settled();
      assert(socket.destroyed);
      assert.equal(closed.count, 1);
    });
    assert.equal(reports.length, 1);
    assert.match(String(reports[0]), /bug/);
  }
});

Deno.test("a session left without a response is answered 500", async () => {
  const { socket, refusals } = connectDownstream({ serve() {} });
  socket.feed("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  await settled();
  assert.deepEqual(refusals.map((error) => error.type), ["internal_error"]);
  assert.match(socket.text, /^HTTP\/1.1 500 .*Content-Length: 3\r\n\r\n$/s);
  assert(socket.finished);
});

Deno.test("drain closes an idle connection, and a busy one after its response", async () => {
  const fresh = connectDownstream();
  assert(fresh.connection.idle);
  fresh.connection.drain();
  await settled();
  assert(fresh.socket.closed);
  assert.equal(fresh.closed.count, 1);

  const idle = connectDownstream();
  idle.socket.feed(GET);
  await settled();
  idle.connection.drain();
  await settled();
  assert(idle.socket.closed);

  const gate = Promise.withResolvers<void>();
  const busy = connectDownstream({
    async serve(session) {
      await gate.promise;
      answerOk(session);
    },
  });
  busy.socket.feed(GET + GET);
  await settled();
  assert.equal(busy.connection.idle, false);
  busy.connection.drain();
  await settled();
  assert.equal(busy.socket.closed, false);
  gate.resolve();
  await settled();
  assert.equal(busy.sessions.length, 1);
  assert.match(busy.socket.text, /Connection: close/);
  assert(busy.socket.finished);

  const half = connectDownstream();
  half.socket.feed("GET / HT");
  await settled();
  half.connection.drain();
  half.socket.feed("TP/1.1\r\nHost: a\r\n\r\n");
  await settled();
  assert.match(half.socket.text, /^HTTP\/1.1 200 .*Connection: close/s);
});

Deno.test("a gentle drain lets one more request come where the response has not said that none may", async () => {
  const gate = Promise.withResolvers<void>();
  const { socket, connection, sessions } = connectDownstream({
    async serve(session) {
      session.writeHead(new ResponseHead(200), { kind: "length", length: 4 });
      await session.writeBody(bytes("ab"), false);
      await gate.promise;
      await session.writeBody(bytes("cd"), true);
    },
  });
  socket.feed(GET);
  await settled();
  // Its head is on its way, and promises to go on.
  connection.drain(true);
  gate.resolve();
  await settled();
  assert.doesNotMatch(socket.text, /Connection: close/);
  assert.equal(socket.closed, false);
  assert(connection.idle);
  socket.feed(GET);
  await settled();
  assert.equal(sessions.length, 2);
  assert.match(socket.text, /Connection: close/);
  assert(socket.finished);
});

Deno.test("a gentle drain that has waited long enough closes what is idle", async () => {
  const { socket, connection } = connectDownstream();
  socket.feed(GET);
  await settled();
  connection.drain(true);
  await settled();
  assert.equal(socket.closed, false);
  connection.drain();
  await settled();
  assert(socket.closed);
});

Deno.test("destroy ends a request that is served, and onClosed waits for it", async () => {
  let failure: ProxyError | null = null;
  const gate = Promise.withResolvers<void>();
  const { socket, connection, closed } = connectDownstream({
    async serve(session) {
      session.onFailure = (error) => failure = error;
      await gate.promise;
    },
  });
  socket.feed(GET);
  await settled();
  connection.destroy();
  assert(socket.destroyed);
  assert.equal(failure!.type, "shutting_down");
  assert.equal(closed.count, 0);
  gate.resolve();
  await settled();
  assert.equal(closed.count, 1);
});

Deno.test("the client gets time to read the last answer before the connection goes", async () => {
  const { socket, closed, pass } = connectDownstream();
  socket.feed("BAD\r\n\r\n");
  await settled();
  assert.match(socket.text, /^HTTP\/1.1 400 /);
  assert(socket.finished && !socket.closed);
  // What the client still sends is read and thrown away.
  socket.feed("x".repeat(300_000));
  await settled();
  assert.equal(socket.unread, 0);
  await pass(2_100);
  assert(socket.destroyed);
  assert.equal(closed.count, 1);
});

Deno.test("large pieces are written from where they are, and waited for", async () => {
  const large = new Uint8Array(200_000).fill(97);
  let settledWrite = false;
  const { socket } = connectDownstream({
    async serve(session) {
      session.writeHead(new ResponseHead(200), { kind: "length", length: large.length });
      const written = session.writeBody(large, true);
      assert(written instanceof Promise);
      await written;
      settledWrite = true;
    },
  });
  socket.stalled = true;
  socket.feed(GET);
  await settled();
  assert.equal(settledWrite, false);
  assert.equal(socket.pending > large.length, true);
  socket.drain();
  await settled();
  assert(settledWrite);
  assert.equal(socket.writes, 2);
  assert.equal(socket.text.length, socket.text.indexOf("\r\n\r\n") + 4 + large.length);
});

Deno.test("buffers that wait to be written are left alone while other connections work", async () => {
  const slow = connectDownstream({
    serve(session) {
      session.writeHead(new ResponseHead(200), { kind: "length", length: 6 });
      session.writeBody(bytes("secret"), true);
    },
  });
  slow.socket.stalled = true;
  slow.socket.feed(GET);
  await settled();
  for (let i = 0; i < 20; i++) {
    const other = connectDownstream({ serve: echo });
    other.socket.feed(
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n${"z".repeat(3000)}`,
    );
    await settled();
  }
  slow.socket.drain();
  await settled();
  assert.match(slow.socket.text, /^HTTP\/1.1 200 OK.*\r\n\r\nsecret$/s);
});

Deno.test("a head stays readable while content is read, whatever its size", async () => {
  const cookie = "c".repeat(5000);
  let seen = "";
  const { socket } = connectDownstream({
    async serve(session) {
      const body = await readAll(session);
      seen = session.head.fields.get("cookie")!;
      assert.equal(session.head.target, "/upload");
      session.writeHead(new ResponseHead(200), { kind: "none" });
      assert.equal(body.length, 300_000);
      assert.equal(body, "b".repeat(300_000));
    },
  });
  socket.feed(
    `POST /upload HTTP/1.1\r\nHost: a\r\nCookie: ${cookie}\r\nContent-Length: 300000\r\n\r\n`,
  );
  for (let i = 0; i < 10; i++) {
    socket.feed(new Uint8Array(30_000).fill(98));
    await settled();
  }
  for (let i = 0; i < 20; i++) await settled();
  assert.equal(seen, cookie);
});

Deno.test("many small chunks in one read come out as one piece", async () => {
  const pieces: string[] = [];
  const { socket } = connectDownstream({
    async serve(session) {
      while (!session.bodyDone) pieces.push(text(await session.readBody()));
      answerOk(session);
    },
  });
  socket.feed(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + "1\r\nx\r\n".repeat(100) +
      "0\r\n\r\n",
  );
  await settled();
  assert.deepEqual(pieces, ["x".repeat(100)]);
});
