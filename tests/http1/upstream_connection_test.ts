import assert from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead } from "../../src/http/message.ts";
import { type Framing, NO_CONTENT, STREAM, type UpstreamSession } from "../../src/http/session.ts";
import { bytes, connectUpstream, readAll, type UpstreamTest } from "../support/http1.ts";
import { settled } from "../support/memory_socket.ts";

function request(method = "GET", fields: [string, string][] = [["Host", "a"]]): RequestHead {
  return new RequestHead({ method, version: 11, target: "/x?y", fields: Fields.from(fields) });
}

function send(test: UpstreamTest, method = "GET", framing: Framing = NO_CONTENT): UpstreamSession {
  const session = test.connection.begin(method);
  session.writeHead(request(method), framing);
  session.flush();
  return session;
}

/** Sends a GET, answers it with `raw`, and gives the outcome as text. */
async function outcome(
  raw: string,
  options: { method?: string; end?: boolean; readSize?: number; eager?: boolean; cut?: number } =
    {},
): Promise<string> {
  const test = connectUpstream(options);
  const session = send(test, options.method);
  const { cut } = options;
  if (cut === undefined) test.socket.feed(raw);
  else {
    test.socket.feed(raw.slice(0, cut));
    await settled();
    test.socket.feed(raw.slice(cut));
  }
  if (options.end) test.socket.feedEnd();
  try {
    const head = await session.readHead();
    const parts = [`${head.status} ${JSON.stringify([...head.fields])}`];
    parts.push(`length ${session.contentLength}`, JSON.stringify(await readAll(session)));
    const trailers = session.trailers;
    if (trailers !== null) parts.push(JSON.stringify([...trailers]));
    session.release();
    return `${parts.join(" ")} ${test.events.join()}`;
  } catch (error) {
    assert(error instanceof ProxyError, String(error));
    assert.equal(error.source, "upstream");
    session.abort();
    assert(test.socket.destroyed);
    return `${error.type} retry ${error.retry}`;
  }
}

const ANSWERS: [
  name: string,
  raw: string,
  expected: string,
  options?: Parameters<typeof outcome>[1],
][] = [
  [
    "a length",
    "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok",
    '200 [["A","b"]] length 2 "ok" idle',
  ],
  [
    "chunks and trailers",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nT: u\r\nHost: v\r\n\r\n",
    '200 [] length -1 "ok" [["T","u"]] idle',
  ],
  ["until close", "HTTP/1.1 200 OK\r\n\r\nok", '200 [] length -1 "ok" closed', { end: true }],
  ["until close, empty", "HTTP/1.1 200 OK\r\n\r\n", '200 [] length -1 "" closed', { end: true }],
  ["no content by status", "HTTP/1.1 204 x\r\n\r\n", '204 [] length 0 "" idle'],
  ["304 with a length", "HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", '304 [] length 9 "" idle'],
  [
    "HEAD with a length",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    '200 [] length 9 "" idle',
    { method: "HEAD" },
  ],
  [
    "HEAD with chunks announced",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    '200 [] length -1 "" idle',
    { method: "HEAD" },
  ],
  ["no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", '200 [] length 0 "" idle'],
  ["an odd status", "HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n", '999 [] length 0 "" idle'],
  [
    "hop-by-hop fields",
    "HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: 1\r\nUpgrade: h2\r\nB: c\r\nContent-Length: 0\r\n\r\n",
    '200 [["B","c"]] length 0 "" idle',
  ],
  [
    "Connection: close",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    '200 [] length 0 "" closed',
  ],
  ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", '200 [] length 0 "" closed'],
  [
    "HTTP/1.0 with keep-alive",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    '200 [] length 0 "" idle',
  ],
  [
    "bytes behind a response",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    '200 [] length 2 "ok" closed',
  ],
  [
    "204 with content",
    "HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\n",
    '204 [] length 0 "" closed',
  ],
  [
    "both framings",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "invalid_response retry false",
  ],
  [
    "two lengths",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "invalid_response retry false",
  ],
  [
    "a bad length",
    "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "invalid_response retry false",
  ],
  [
    "a listed length",
    "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "invalid_response retry false",
  ],
  [
    "another coding",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "invalid_response retry false",
  ],
  [
    "a coding before chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "invalid_response retry false",
  ],
  [
    "chunks on HTTP/1.0",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "invalid_response retry false",
  ],
  [
    "a bad chunk",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "invalid_response retry false",
  ],
  ["bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "invalid_response retry false"],
  ["obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "invalid_response retry false"],
  ["a space before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "invalid_response retry false"],
  ["NUL in a value", "HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "invalid_response retry false"],
  ["a control in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n", "invalid_response retry false"],
  ["another protocol", "SSH-2.0-OpenSSH_9\r\n", "invalid_response retry false"],
  ["HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "invalid_response retry false"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "invalid_response retry false"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "invalid_response retry false"],
  ["a status under 100", "HTTP/1.1 099 OK\r\n\r\n", "invalid_response retry false"],
  ["an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", "invalid_response retry false"],
  ["nothing", "", "connection_closed retry reused-only", { end: true }],
  ["half a head", "HTTP/1.1 200 OK\r\nA: b\r\n", "incomplete_response retry false", { end: true }],
  [
    "a body cut short",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
    "incomplete_response retry false",
    { end: true },
  ],
  [
    "chunks cut short",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "incomplete_response retry false",
    { end: true },
  ],
  [
    "chunks without a last one",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    "incomplete_response retry false",
    { end: true },
  ],
];

Deno.test("responses mean what RFC 9112 says, however they are cut", async (t) => {
  for (const [name, raw, expected, options] of ANSWERS) {
    await t.step(name, async () => {
      for (const more of [{}, { eager: true }, { readSize: 1 }]) {
        // Bytes behind a response may also come when it is released; then the idle connection ends.
        if (name === "bytes behind a response" && "readSize" in more) continue;
        assert.equal(await outcome(raw, { ...options, ...more }), expected);
      }
      for (let cut = 1; cut < raw.length; cut++) {
        if (name === "bytes behind a response" && cut >= raw.indexOf("okHTTP") + 2) continue;
        assert.equal(await outcome(raw, { ...options, cut }), expected, `cut at ${cut}`);
      }
    });
  }
});

Deno.test("heads are written with framing, Host and what Connection must name", async () => {
  const cases: [RequestHead, Framing, string][] = [
    [request(), NO_CONTENT, "GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"],
    [request("POST"), NO_CONTENT, "POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"],
    [
      request("PUT", [["Host", "a"], ["Content-Length", "9"], ["Transfer-Encoding", "x"]]),
      { kind: "length", length: 3 },
      "PUT /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
    ],
    [
      request("PUT"),
      STREAM,
      "PUT /x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    [
      request("GET", [["Host", "a"], ["TE", "trailers"], ["Connection", "x"], ["Keep-Alive", "1"]]),
      NO_CONTENT,
      "GET /x?y HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    ],
    [
      new RequestHead({
        method: "GET",
        version: 20,
        target: "/",
        authority: "b.example",
        fields: Fields.from([["A", "b"]]),
      }),
      NO_CONTENT,
      "GET / HTTP/1.1\r\nHost: b.example\r\nA: b\r\n\r\n",
    ],
  ];
  for (const [head, framing, expected] of cases) {
    const { socket, connection } = connectUpstream();
    const session = connection.begin(head.method);
    session.writeHead(head, framing);
    session.flush();
    assert.equal(socket.text, expected);
    assert.equal(socket.writes, 1);
    await settled();
  }
});

Deno.test("a method or target that could end the request line never reaches the wire", () => {
  for (
    const [method, target] of [["GET / HTTP/1.1\r\nA: b", "/"], ["GET", "/ HTTP/1.1\r\n"], [
      "",
      "/",
    ], ["GET", ""]] as const
  ) {
    const { socket, connection } = connectUpstream();
    const session = connection.begin("GET");
    const head = new RequestHead({
      method,
      target,
      version: 11,
      fields: Fields.from([["Host", "a"]]),
    });
    assert.throws(() => session.writeHead(head, NO_CONTENT), { type: "internal_error" });
    session.abort();
    assert.equal(socket.text, "");
  }
});

Deno.test("a head and a small body are one write; chunks and trailers follow", async () => {
  const plain = connectUpstream();
  const session = plain.connection.begin("POST");
  session.writeHead(request("POST"), { kind: "length", length: 2 });
  await session.writeBody(bytes("hi"), true);
  assert.equal(plain.socket.writes, 1);
  assert.match(plain.socket.text, /\r\n\r\nhi$/);

  const chunked = connectUpstream();
  const other = chunked.connection.begin("POST");
  other.writeHead(request("POST"), STREAM);
  await other.writeBody(bytes("hi"), false);
  await other.writeBody(new Uint8Array(0), false);
  await other.endBody(Fields.from([["X-Sum", "1"]]));
  assert.equal(chunked.socket.writes, 1);
  assert.match(chunked.socket.text, /\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n$/);
});

Deno.test("one exchange follows the other on a connection, and the second is a reused one", async () => {
  const test = connectUpstream();
  for (let i = 0; i < 3; i++) {
    const session = send(test);
    assert.equal(session.reused, i > 0);
    assert(test.connection.busy);
    test.socket.feed(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${i}`);
    await session.readHead();
    assert.equal(await readAll(session), String(i));
    session.release();
    assert(!test.connection.busy);
  }
  assert.deepEqual(test.events, ["idle", "idle", "idle"]);
  assert.equal(test.connection.requests, 3);
});

Deno.test("a byte or an end on an idle connection closes it", async () => {
  for (const how of ["byte", "end", "break"]) {
    const test = connectUpstream();
    const session = send(test);
    test.socket.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    await session.readHead();
    session.release();
    if (how === "byte") test.socket.feed("H");
    else if (how === "end") test.socket.feedEnd();
    else test.socket.break(new ProxyError("read_error", "reset"));
    await settled();
    assert.deepEqual(test.events, ["idle", "closed"]);
    assert(test.connection.closed && test.socket.closed);
    assert.throws(() => test.connection.begin("GET"), { type: "connection_closed", retry: true });
  }
});

Deno.test("bytes that came before the request was written are no answer to it", async () => {
  const test = connectUpstream();
  const first = send(test);
  test.socket.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  await first.readHead();
  first.release();
  const session = test.connection.begin("GET");
  const failures: ProxyError[] = [];
  session.onFailure = (error) => failures.push(error);
  test.socket.feed("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
  await settled();
  assert(test.connection.closed && test.socket.destroyed);
  assert.deepEqual(failures.map((error) => [error.type, error.retry]), [
    ["connection_closed", "reused-only"],
  ]);
  assert.throws(() => session.writeHead(request(), NO_CONTENT), { type: "write_error" });
  session.abort();
});

Deno.test("several informational heads come one by one; too many are invalid", async () => {
  const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  for (const [count, isFine] of [[2, true], [3, false]] as const) {
    const { socket, connection, events } = connectUpstream({ limits: { informational: 2 } });
    const session = connection.begin("HEAD");
    session.writeHead(request("HEAD"), NO_CONTENT);
    session.flush();
    socket.feed(hint.repeat(count) + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    for (let i = 0; i < 2; i++) {
      const head = await session.readHead();
      assert.equal(head.status, 103);
      assert.equal(head.fields.get("link"), "</a>");
      assert.equal(session.bodyDone, false);
    }
    if (isFine) {
      assert.equal((await session.readHead()).status, 200);
      session.release();
      assert.deepEqual(events, ["idle"]);
    } else {
      await assert.rejects(async () => await session.readHead(), { type: "invalid_response" });
    }
  }
});

Deno.test("an upstream that dies after a 103 gave an incomplete response", async () => {
  const test = connectUpstream();
  const session = send(test);
  test.socket.feed("HTTP/1.1 103 x\r\n\r\n");
  await session.readHead();
  test.socket.feedEnd();
  await assert.rejects(async () => await session.readHead(), {
    type: "incomplete_response",
    retry: false,
  });
});

Deno.test("a response head of exactly the limit passes, and one byte more does not", async () => {
  const rest = "HTTP/1.1 204 x\r\nA: \r\n\r\n".length;
  for (const headBytes of [300, 5000]) {
    for (const readSize of [1e9, 11]) {
      for (const over of [0, 1]) {
        const test = connectUpstream({ limits: { headBytes }, readSize });
        const session = send(test);
        test.socket.feed(`HTTP/1.1 204 x\r\nA: ${"b".repeat(headBytes - rest + over)}\r\n\r\n`);
        const read = async () => await session.readHead();
        if (over === 0) assert.equal((await read()).status, 204);
        else await assert.rejects(read, { type: "response_head_too_large" });
      }
    }
  }
});

Deno.test("exactly as many response fields as allowed pass", async () => {
  for (const fields of [5, 200, 300]) {
    for (const over of [0, 1]) {
      const test = connectUpstream({ limits: { fields } });
      const session = send(test);
      test.socket.feed(`HTTP/1.1 204 x\r\n${"A: b\r\n".repeat(fields + over)}\r\n`);
      const read = async () => await session.readHead();
      if (over === 0) assert.equal((await read()).fields.size, fields);
      else await assert.rejects(read, { type: "response_head_too_large" });
    }
  }
});

Deno.test("the response must begin in time, counted from the end of the request", async () => {
  const test = connectUpstream({ timeouts: { firstByteTimeout: 3000 } });
  const session = send(test, "POST", { kind: "length", length: 2 });
  let failed: ProxyError | null = null;
  Promise.resolve(session.readHead()).catch((error) => failed = error);
  await test.pass(10_000);
  await session.writeBody(bytes("a"), false);
  await session.flush();
  await test.pass(10_000);
  assert.equal(failed, null);
  await session.writeBody(bytes("b"), true);
  await test.pass(2_900);
  assert.equal(failed, null);
  await test.pass(200);
  assert.equal(failed!.type, "first_byte_timeout");
  session.release();
  assert(test.socket.destroyed);
});

Deno.test("a response that stalls fails with read_timeout, in its head and in its content", async () => {
  for (const start of ["HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"]) {
    const test = connectUpstream({ timeouts: { readTimeout: 2000, firstByteTimeout: 9000 } });
    const session = send(test);
    let failed: ProxyError | null = null;
    const reading = (async () => {
      await session.readHead();
      await readAll(session);
    })().catch((error) => failed = error);
    test.socket.feed(start);
    await test.pass(1900);
    assert.equal(failed, null);
    await test.pass(200);
    assert.equal(failed!.type, "read_timeout");
    await reading;
  }
});

Deno.test("an upstream that does not read fails the writer with write_timeout", async () => {
  const test = connectUpstream({ timeouts: { writeTimeout: 1000 } });
  const session = send(test, "POST", { kind: "length", length: 100_000 });
  test.socket.stalled = true;
  let failed: ProxyError | null = null;
  Promise.resolve(session.writeBody(new Uint8Array(100_000), true)).catch((error) =>
    failed = error
  );
  await test.pass(900);
  assert.equal(failed, null);
  await test.pass(200);
  assert.equal(failed!.type, "write_timeout");
  assert.equal(failed!.source, "upstream");
  assert(test.connection.closed);
});

Deno.test("a connection that breaks before the response may be tried again if it was reused", async () => {
  const test = connectUpstream();
  const session = send(test);
  const reading = Promise.resolve(session.readHead());
  test.socket.break(new ProxyError("read_error", "reset"));
  await assert.rejects(reading, { type: "read_error", source: "upstream", retry: "reused-only" });
});

Deno.test("content that only the end of the connection delimits is whole after a FIN, and never after a reset", async () => {
  for (const how of ["fin", "reset"]) {
    const test = connectUpstream();
    const session = send(test);
    test.socket.feed("HTTP/1.1 200 OK\r\n\r\npart");
    await session.readHead();
    const reading = Promise.resolve(readAll(session));
    await settled();
    if (how === "fin") test.socket.feedEnd();
    // A reset is known by the same type of error as an end that comes too early.
    else test.socket.break(new ProxyError("connection_closed", "reset"));
    if (how === "fin") await reading;
    else await assert.rejects(reading, { type: "incomplete_response", source: "upstream" });
  }
});

Deno.test("onFailure tells of an end that nobody is reading for", async () => {
  for (const how of ["end", "break"]) {
    const test = connectUpstream();
    const session = send(test, "POST", STREAM);
    const failures: ProxyError[] = [];
    session.onFailure = (error) => failures.push(error);
    if (how === "end") test.socket.feedEnd();
    else test.socket.break(new ProxyError("write_error", "pipe"));
    await settled();
    assert.equal(failures.length, 1);
    assert.equal(failures[0]!.retry, "reused-only");
    await assert.rejects(async () => await session.readHead(), (error) => error === failures[0]);
  }
});

Deno.test("an answer sent before the upstream closed is still read, though writing fails", async () => {
  const test = connectUpstream();
  const session = send(test, "POST", { kind: "length", length: 1_000_000 });
  await session.writeBody(new Uint8Array(50_000), false);
  test.socket.feed("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge");
  await settled();
  assert(session.responseStarted);
  test.socket.break(new ProxyError("write_error", "broken pipe"));
  assert.throws(() => session.writeBody(new Uint8Array(50_000), false), { type: "write_error" });
  const head = await session.readHead();
  assert.equal(head.status, 413);
  assert.equal(await readAll(session), "large");
  session.release();
  assert.deepEqual(test.events, ["closed"]);
});

Deno.test("an early final answer resolves readHead; giving up the upload closes the connection", async () => {
  const test = connectUpstream();
  const session = send(test, "POST", STREAM);
  const reading = Promise.resolve(session.readHead());
  await session.writeBody(bytes("part"), false);
  await session.flush();
  test.socket.feed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
  assert.equal((await reading).status, 200);
  assert.equal(await readAll(session), "no");
  session.release();
  assert.deepEqual(test.events, ["closed"]);
  assert(!test.socket.text.endsWith("0\r\n\r\n"));
});

Deno.test("an exchange given up before its end closes the connection", async () => {
  for (const give of ["release", "abort"] as const) {
    const test = connectUpstream();
    const session = send(test);
    test.socket.feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    await session.readHead();
    await session.readBody();
    session[give]();
    assert.deepEqual(test.events, ["closed"]);
    assert(test.socket.destroyed);
    session[give]();
    await assert.rejects(async () => await session.readBody(), { type: "internal_error" });
  }
});

Deno.test("abort rejects who waits", async () => {
  const test = connectUpstream();
  const session = send(test);
  const reading = Promise.resolve(session.readHead());
  const why = new ProxyError("client_closed", "gone");
  session.abort(why);
  await assert.rejects(reading, (error) => error === why);
});

Deno.test("more content than announced never reaches the upstream", async () => {
  const test = connectUpstream();
  const session = send(test, "POST", { kind: "length", length: 2 });
  assert.throws(() => session.writeBody(bytes("abc"), true), { type: "internal_error" });
  await settled();
  assert(!test.socket.text.includes("abc"));
});

Deno.test("large responses arrive whole, whatever the sizes of the reads", async () => {
  const body = Array.from({ length: 3_000_000 }, (_, i) => String.fromCharCode(97 + i % 26)).join(
    "",
  );
  for (const readSize of [1e9, 70_001]) {
    const test = connectUpstream({ readSize });
    const session = send(test);
    test.socket.feed(
      `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nX-A: kept\r\n\r\n${body}`,
    );
    const head = await session.readHead();
    assert.equal(await readAll(session) === body, true);
    assert.equal(head.fields.get("x-a"), "kept");
    session.release();
    assert.deepEqual(test.events, ["idle"]);
  }
});

Deno.test("an answer that is here already gets room for all of it, and an idle connection little", async () => {
  const { connection, socket } = connectUpstream();
  assert(connection.readBuffer(60_000).length < 4_096);
  assert.equal(connection.streaming, false);
  connection.onRead(0);
  const next = connectUpstream();
  const session = send(next);
  const into = next.connection.readBuffer(60_000);
  assert(into.length >= 60_000, String(into.length));
  const head = bytes("HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n");
  into.set(head);
  next.connection.onRead(60_000);
  await session.readHead();
  assert.equal(next.connection.streaming, true);
  const piece = await session.readBody();
  // One piece, where it was received.
  assert.equal(piece.buffer, into.buffer);
  assert.equal(piece.length, 60_000 - head.length);
  session.abort();
  assert.equal(next.connection.streaming, false);
  assert(socket.destroyed);
});

Deno.test("a connection rests only when all of its request is with the kernel", async () => {
  const test = connectUpstream();
  test.socket.stalled = true;
  const session = send(test);
  test.socket.feed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  await session.readHead();
  assert.equal(await readAll(session), "ok");
  session.release();
  await settled();
  assert.deepEqual(test.events, []);
  test.socket.drain();
  await settled();
  assert.deepEqual(test.events, ["idle"]);
  assert.equal(test.connection.closed, false);

  const broken = connectUpstream();
  broken.socket.stalled = true;
  const other = send(broken);
  broken.socket.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  await other.readHead();
  other.release();
  broken.socket.break(new ProxyError("write_error", "broken"));
  await settled();
  assert.deepEqual(broken.events, ["closed"]);
});
