/** Requests over HTTP/2 to an upstream and their responses, over real sockets. */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead } from "../../src/http/message.ts";
import type { UpstreamSession } from "../../src/http/session.ts";
import {
  CANCEL,
  HTTP_1_1_REQUIRED,
  INTERNAL_ERROR,
  NO_ERROR,
  REFUSED_STREAM,
  SETTINGS_ENABLE_CONNECT_PROTOCOL,
  SETTINGS_INITIAL_WINDOW_SIZE,
} from "../../src/http2/constants.ts";
import { END_HEADERS, END_STREAM, F, Http2Origin, uint32 } from "../support/http2_origin.ts";
import { answer, bytes, content, failure, finalHead, h2cPeer, head, send } from "./http2_use.ts";
import { Use } from "./real_upstream.ts";

/** A session whose request, a GET, has arrived. */
async function asked(
  use: Use,
  origin: Http2Origin,
  peer = h2cPeer(origin),
): Promise<UpstreamSession> {
  const session = await use.session(peer);
  await send(session);
  await origin.request();
  return session;
}

Deno.test("a request goes out with pseudo-fields, without what belongs to one connection, and a response comes in", async () => {
  await using origin = new Http2Origin({
    onRequest: (request) =>
      request.respond(200, "hello", [["x-a", "b"], ["content-length", "5"], ["set-cookie", "c"]]),
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  equal(session.version, 20);
  const request = head("GET", "/a?b", [
    ["X-Case", "Kept"],
    ["TE", "trailers"],
    ["Connection", "keep-alive"],
    ["Keep-Alive", "timeout=5"],
    ["Transfer-Encoding", "chunked"],
  ]);
  await send(session, request);
  const { status, fields, version } = await finalHead(session);
  equal(`${status} ${version}`, "200 20");
  deepEqual([...fields], [["x-a", "b"], ["set-cookie", "c"]]);
  equal(session.contentLength, 5);
  equal(new TextDecoder().decode(await content(session)), "hello");
  equal(session.bodyBytes, 5);
  session.release();
  deepEqual([...origin.requests[0]!.fields], [
    [":method", "GET"],
    [":scheme", "http"],
    [":authority", "origin.test"],
    [":path", "/a?b"],
    ["x-case", "Kept"],
    ["te", "trailers"],
  ]);
  ok(origin.requests[0]!.ended);
  // What was written is still there for another attempt.
  equal(request.fields.get("host"), "origin.test");
  equal(request.fields.get("te"), "trailers");
});

Deno.test("1xx heads come before the final one, and too many of them are a fault", async () => {
  await using origin = new Http2Origin({
    async onRequest(request) {
      const count = request.path === "/flood" ? 17 : 2;
      for (let i = 0; i < count; i++) {
        await request.headers([[":status", "103"], ["link", `<${i}>`]]);
      }
      await request.respond(200, "done");
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin);
  const session = await use.session(peer);
  await send(session);
  for (let i = 0; i < 2; i++) {
    const hint = await session.readHead();
    equal(`${hint.status} ${hint.fields.get("link")}`, `103 <${i}>`);
    ok(hint.informational);
  }
  equal(await answer(session), "200 done");
  session.release();
  const flooded = await use.session(peer);
  await send(flooded, head("GET", "/flood"));
  equal((await failure(answer(flooded))).type, "invalid_response");
  flooded.release();
  // The neighbours are not concerned.
  const third = await use.session(peer);
  await send(third);
  equal(await answer(third), "200 done");
  third.release();
  equal(origin.connections.length, 1);
});

Deno.test("content with a length, or as long as it lasts, goes out whole, and trailers behind it", async () => {
  await using origin = new Http2Origin({
    async onRequest(request) {
      const body = await request.content;
      await request.headers([[":status", "200"]]);
      await request.data(body);
      await request.headers([["x-sum", String(body.length)], ["host", "evil"]], true);
    },
  });
  await using use = new Use();
  const all = bytes(200_000);
  for (const framing of [{ kind: "length", length: all.length }, { kind: "stream" }] as const) {
    const session = await use.session(h2cPeer(origin));
    await send(session, head("POST", "/"), framing);
    for (let at = 0; at < all.length; at += 30_000) {
      const last = framing.kind === "length" && at + 30_000 >= all.length;
      await session.writeBody(all.subarray(at, at + 30_000), last);
    }
    if (framing.kind === "stream") {
      const trailers = Fields.from([["X-Check", "ok"], ["Content-Length", "9"]]);
      await session.endBody(trailers);
      equal(trailers.get("x-check"), "ok");
    }
    equal((await finalHead(session)).status, 200);
    deepEqual(await content(session), all);
    deepEqual([...session.trailers!], [["x-sum", "200000"]]);
    session.release();
  }
  const [counted, streamed] = origin.requests;
  equal(counted!.fields.get("content-length"), "200000");
  equal(counted!.trailers, null);
  equal(streamed!.fields.get("content-length"), undefined);
  deepEqual([...streamed!.trailers!], [["x-check", "ok"]]);
});

Deno.test("an empty POST says that it is empty", async () => {
  await using origin = new Http2Origin({ onRequest: (request) => request.respond(204) });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  await send(session, head("POST"));
  equal((await finalHead(session)).status, 204);
  ok(session.bodyDone);
  session.release();
  equal(origin.requests[0]!.fields.get("content-length"), "0");
  ok(origin.requests[0]!.ended);
});

Deno.test("content waits for the window of the upstream, byte for byte", async () => {
  await using origin = new Http2Origin({
    windows: false,
    settings: [SETTINGS_INITIAL_WINDOW_SIZE, 1000],
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  await send(session, head("POST"), { kind: "stream" });
  const all = bytes(5_000);
  let done = false;
  const writing = Promise.resolve(session.writeBody(all, true)).then(() => done = true);
  const request = await origin.request();
  const { connection } = request;
  await connection.until("1000 bytes", () => request.received === 1000);
  equal(done, false);
  await connection.windowUpdate(request.stream, 1500);
  await connection.until("2500 bytes", () => request.received === 2500);
  equal(done, false);
  await connection.windowUpdate(request.stream, 10_000);
  deepEqual(await request.content, all);
  await writing;
  await request.respond(200, "all");
  equal(await answer(session), "200 all");
  session.release();
});

Deno.test("content that nobody reads stops at the window of its stream, and holds up no other", async () => {
  await using origin = new Http2Origin({
    async onRequest(request) {
      if (request.path !== "/long") return request.respond(200, "quick");
      await request.headers([[":status", "200"]]);
      // As much as is allowed, and no more.
      for (let i = 0; i < 5; i++) {
        await request.data(new Uint8Array(13_107));
      }
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin, { streamWindow: 65_535, maxStreams: 10 });
  const slow = await use.session(peer);
  await send(slow, head("GET", "/long"));
  equal((await finalHead(slow)).status, 200);
  const { connection } = origin.requests[0]!;
  for (let i = 0; i < 9; i++) {
    const other = await use.session(peer);
    await send(other);
    equal(await answer(other), "200 quick");
    other.release();
  }
  equal(origin.connections.length, 1);
  // Nothing was read, so nothing may come: neither of the windows was opened for that stream.
  equal(connection.frames.some((one) => one.type === F.WINDOW_UPDATE && one.stream !== 0), false);
  let read = 0;
  while (read < 65_535) read += (await slow.readBody()).length;
  const more = slow.readBody();
  await connection.until(
    "an update",
    () => connection.frames.some((one) => one.type === F.WINDOW_UPDATE && one.stream !== 0),
  );
  await connection.frame(F.DATA, END_STREAM, 1, bytes(3));
  deepEqual(await more, bytes(3));
  ok(slow.bodyDone);
  slow.release();
});

Deno.test("HEAD, 204 and 304 have no content, whatever length they tell", async () => {
  await using origin = new Http2Origin({
    onRequest: (request) =>
      request.respond(request.method === "HEAD" ? 200 : 304, "", [["content-length", "77"]]),
  });
  await using use = new Use();
  for (const method of ["HEAD", "GET"]) {
    const session = await use.session(h2cPeer(origin));
    await send(session, head(method));
    await finalHead(session);
    equal(session.contentLength, 77);
    ok(session.bodyDone);
    session.release();
  }
  equal(origin.connections.length, 1);
});

Deno.test("an answer that comes early is read to its end, although the upload was stopped", async () => {
  await using origin = new Http2Origin({
    windows: false,
    async onRequest(request) {
      if (request.method !== "POST") return request.respond(200, "next");
      await request.respond(413, bytes(100_000), [["content-length", "100000"]]);
      // RFC 9113 §8.1: nobody needs the rest of the request.
      await request.rst(NO_ERROR);
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin);
  const session = await use.session(peer);
  await send(session, head("POST"), { kind: "stream" });
  const writing = failure(Promise.resolve(session.writeBody(bytes(400_000), true)));
  const { status } = await finalHead(session);
  equal(status, 413);
  deepEqual(await content(session), bytes(100_000));
  const error = await writing;
  equal(`${error.type} ${error.source}`, "stream_reset upstream");
  session.release();
  const next = await use.session(peer);
  await send(next);
  equal(await answer(next), "200 next");
  next.release();
  equal(origin.connections.length, 1);
});

Deno.test("a session that is released before its end cancels its stream and nothing else", async () => {
  await using origin = new Http2Origin({
    onRequest: (request) => request.path === "/long" ? request.respond(200, "a", [], false) : null,
  });
  await using use = new Use();
  const peer = h2cPeer(origin);
  const other = await use.session(peer);
  await send(other);
  const long = await use.session(peer);
  await send(long, head("GET", "/long"));
  await finalHead(long);
  long.release();
  equal(await (await origin.request(2)).reset, CANCEL);
  const aborted = await use.session(peer);
  await send(aborted);
  const reading = failure(Promise.resolve(aborted.readHead()));
  aborted.abort(new ProxyError("client_closed", "gone"));
  equal((await reading).type, "client_closed");
  equal(await (await origin.request(3)).reset, CANCEL);
  await (await origin.request(1)).respond(200, "still");
  equal(await answer(other), "200 still");
  other.release();
});

Deno.test("what a reset means: refused and GOAWAY are unprocessed, everything else is not", async () => {
  await using origin = new Http2Origin();
  await using use = new Use();
  const cases: [number, string, boolean][] = [
    [REFUSED_STREAM, "stream_reset", true],
    [INTERNAL_ERROR, "stream_reset", false],
    [CANCEL, "stream_reset", false],
    [HTTP_1_1_REQUIRED, "http_1_1_required", false],
    [999, "stream_reset", false],
  ];
  let count = 0;
  for (const [code, type, unprocessed] of cases) {
    const session = await use.session(h2cPeer(origin));
    await send(session);
    const reading = failure(Promise.resolve(session.readHead()));
    await (await origin.request(++count)).rst(code);
    const error = await reading;
    equal(
      `${error.type} ${error.source} ${error.unprocessed} ${error.retry}`,
      `${type} upstream ${unprocessed} false`,
    );
    session.abort(error);
  }
  equal(origin.connections.length, 1);
  // After the response has begun, REFUSED_STREAM says nothing.
  const begun = await use.session(h2cPeer(origin));
  await send(begun);
  const request = await origin.request(++count);
  await request.respond(200, "a", [], false);
  await finalHead(begun);
  await request.rst(REFUSED_STREAM);
  const error = await failure(content(begun));
  equal(`${error.type} ${error.unprocessed}`, "stream_reset false");
  begun.abort(error);
});

Deno.test("GOAWAY: streams above the last one are unprocessed, the others go on, and nobody is added", async () => {
  await using origin = new Http2Origin();
  await using use = new Use();
  const peer = h2cPeer(origin);
  const sessions: UpstreamSession[] = [];
  for (let i = 0; i < 3; i++) {
    const session = await use.session(peer);
    await send(session);
    sessions.push(session);
  }
  const late = await use.session(peer);
  const request = await origin.request(3);
  const { connection } = request;
  const lost = failure(Promise.resolve(sessions[2]!.readHead()));
  await connection.goaway(3);
  const error = await lost;
  equal(`${error.type} ${error.unprocessed}`, "connection_closed true");
  sessions[2]!.abort(error);
  // Begun before, but not sent.
  throws(() => late.writeHead(head(), { kind: "none" }), { unprocessed: true });
  late.abort();
  const next = await use.session(peer);
  await send(next);
  await (await origin.request(1, 2)).respond(200, "new");
  equal(await answer(next), "200 new");
  next.release();
  for (let i = 0; i < 2; i++) {
    await connection.requests[i]!.respond(200, `old ${i}`);
    equal(await answer(sessions[i]!), `200 old ${i}`);
    sessions[i]!.release();
  }
  await connection.closed;
  equal(use.evicted(peer), "goaway:1");
});

Deno.test("a connection that ends: who had no answer may try again if it was used before, who had one has half of it", async () => {
  await using origin = new Http2Origin();
  await using use = new Use();
  const peer = h2cPeer(origin);
  const [first, second] = [await asked(use, origin, peer), await use.session(peer)];
  await send(second);
  await (await origin.request(2)).respond(200, "half", [], false);
  await finalHead(second);
  equal(`${first.reused} ${second.reused}`, "false true");
  const reading = [failure(Promise.resolve(first.readHead())), failure(content(second))];
  origin.connections[0]!.close();
  const [none, half] = await Promise.all(reading);
  equal(`${none!.type} ${none!.retry} ${none!.unprocessed}`, "connection_closed reused-only false");
  equal(`${half!.type} ${half!.retry}`, "incomplete_response false");
  ok(none !== half);
  first.abort();
  second.abort();
  equal(use.connector.stats().active, 0);
});

Deno.test("a response that came whole is read, although the connection is gone", async () => {
  await using origin = new Http2Origin({
    async onRequest(request) {
      await request.respond(200, "whole");
      request.connection.close();
    },
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  await send(session);
  await (await origin.connection()).closed;
  equal(await answer(session), "200 whole");
  session.release();
});

Deno.test("a first byte that does not come resets its stream, and asks by PING whether anybody is there", async () => {
  await using origin = new Http2Origin();
  await using use = new Use();
  const peer = h2cPeer(origin, {}, { firstByteTimeout: 2_000 });
  const session = await asked(use, origin, peer);
  const error = await failure(Promise.resolve(session.readHead()));
  equal(`${error.type} ${error.source}`, "first_byte_timeout upstream");
  session.abort(error);
  const request = origin.requests[0]!;
  equal(await request.reset, CANCEL);
  await request.connection.next(F.PING);
  // It answers, so it stays.
  const next = await use.session(peer);
  await send(next);
  await (await origin.request(2)).respond(200, "there");
  equal(await answer(next), "200 there");
  next.release();
  equal(origin.connections.length, 1);
});

Deno.test("the time for the first byte begins when the request is sent, not before", async () => {
  await using origin = new Http2Origin();
  await using use = new Use();
  const session = await use.session(h2cPeer(origin, {}, { firstByteTimeout: 200 }));
  await send(session, head("POST"), { kind: "stream" });
  const reading = session.readHead();
  for (let i = 0; i < 10; i++) {
    await session.writeBody(bytes(10), false);
    await session.flush();
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  await session.writeBody(bytes(0), true);
  await rejects(Promise.resolve(reading), { type: "first_byte_timeout" });
  session.abort();
});

Deno.test("a response that does not go on, or never ends its stream, is cut without its neighbours", async () => {
  await using origin = new Http2Origin({
    async onRequest(request) {
      if (request.path === "/never") await request.respond(200, "all of it", [], false);
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin, {}, { readTimeout: 400 });
  const other = await use.session(peer);
  await send(other);
  const never = await use.session(peer);
  await send(never, head("GET", "/never"));
  await finalHead(never);
  equal(new TextDecoder().decode(await never.readBody()), "all of it");
  const error = await failure(Promise.resolve(never.readBody()));
  equal(error.type, "read_timeout");
  never.abort(error);
  equal(await (await origin.request(2)).reset, CANCEL);
  await (await origin.request(1)).respond(200, "neighbour");
  equal(await answer(other), "200 neighbour");
  other.release();
});

Deno.test("a window that stays closed is a write timeout of that stream", async () => {
  await using origin = new Http2Origin({
    windows: false,
    settings: [SETTINGS_INITIAL_WINDOW_SIZE, 10],
    onRequest: (request) => request.method === "GET" ? request.respond(200, "fine") : null,
  });
  await using use = new Use();
  const peer = h2cPeer(origin, {}, { writeTimeout: 400 });
  const stuck = await use.session(peer);
  await send(stuck, head("POST"), { kind: "stream" });
  const error = await failure(Promise.resolve(stuck.writeBody(bytes(100), true)));
  equal(`${error.type} ${error.source}`, "write_timeout upstream");
  stuck.abort(error);
  equal(await (await origin.request(1)).reset, CANCEL);
  const other = await use.session(peer);
  await send(other);
  equal(await answer(other), "200 fine");
  other.release();
  equal(origin.connections.length, 1);
});

Deno.test("malformed responses reset their stream: content over or under its length, bad fields, a head too large", async () => {
  await using origin = new Http2Origin({
    async onRequest(request) {
      const { connection, stream } = request;
      switch (request.path) {
        case "/over":
          return request.respond(200, "12345", [["content-length", "4"]]);
        case "/under":
          return request.respond(200, "123", [["content-length", "4"]]);
        case "/head":
          return request.respond(200, "x", [["content-length", "1"]]);
        case "/nostatus":
          return request.headers([["x-a", "b"]], true);
        case "/status":
          return request.headers([[":status", "20x"]], true);
        case "/switch":
          return request.headers([[":status", "101"]], false);
        case "/connection":
          return request.respond(200, "", [["connection", "close"]]);
        case "/upper":
          return request.respond(200, "", [["X-Upper", "a"]]);
        case "/smuggle":
          return request.respond(200, "", [["x-a", "b\r\nset-cookie: evil"]]);
        case "/large":
          return request.respond(200, "", [["x-large", "y".repeat(70_000)]]);
        case "/many":
          return request.respond(200, "", Array.from({ length: 300 }, (_, i) => [`x-${i}`, "a"]));
        case "/trailers": {
          await request.respond(200, "a", [], false);
          const block = connection.block([[":status", "200"]]);
          return connection.frame(F.HEADERS, END_HEADERS | END_STREAM, stream, block);
        }
        case "/second": {
          await request.respond(200, "a", [], false);
          return request.headers([["x-a", "b"]], false);
        }
      }
      return request.respond(200, "fine");
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin);
  const expected: [string, string, string][] = [
    ["GET", "/over", "invalid_response"],
    ["GET", "/under", "invalid_response"],
    ["HEAD", "/head", "invalid_response"],
    ["GET", "/nostatus", "invalid_response"],
    ["GET", "/status", "invalid_response"],
    ["GET", "/switch", "invalid_response"],
    ["GET", "/connection", "invalid_response"],
    ["GET", "/upper", "invalid_response"],
    ["GET", "/smuggle", "invalid_response"],
    ["GET", "/many", "response_head_too_large"],
    ["GET", "/trailers", "invalid_response"],
    ["GET", "/second", "invalid_response"],
  ];
  for (const [method, path, type] of expected) {
    const session = await use.session(peer);
    await send(session, head(method, path));
    const error = await failure((async () => {
      await finalHead(session);
      // To a HEAD nobody reads content; what comes is a fault all the same.
      if (method === "HEAD") throw session.connection && await lateFault(session);
      await content(session);
    })());
    equal(`${path} ${error.type} ${error.source}`, `${path} ${type} upstream`);
    session.abort(error);
    const other = await use.session(peer);
    await send(other);
    equal(await answer(other), "200 fine", path);
    other.release();
  }
  equal(origin.connections.length, 1);
  const large = await use.session(peer);
  await send(large, head("GET", "/large"));
  // A field block this long is not even put together.
  equal((await failure(answer(large))).type, "invalid_response");
  large.abort();
});

/** The fault that a session hears of when nobody reads. */
async function lateFault(session: UpstreamSession): Promise<unknown> {
  for (let i = 0; i < 200; i++) {
    try {
      await session.flush();
    } catch (error) {
      return error;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return new Error("nothing was found wrong");
}

Deno.test("an upgrade is an extended CONNECT where the upstream offers it, and its 200 is shown as 101", async () => {
  await using origin = new Http2Origin({
    settings: [SETTINGS_ENABLE_CONNECT_PROTOCOL, 1],
    onRequest: (request) => request.headers([[":status", "200"], ["sec-websocket-protocol", "x"]]),
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  await send(session, head("GET", "/chat", [["Upgrade", "websocket"], ["Connection", "Upgrade"]]));
  const { status, fields } = await finalHead(session);
  equal(`${status} ${fields.get("sec-websocket-protocol")}`, "101 x");
  session.startTunnel();
  const request = await origin.request();
  equal(
    [":method", ":protocol", ":scheme", ":path", ":authority"].map((name) =>
      request.fields.get(name)
    ).join(" "),
    "CONNECT websocket http /chat origin.test",
  );
  ok(!request.fields.has("upgrade") && !request.fields.has("connection"));
  equal(request.ended, false);
  await session.writeBody(bytes(10), false);
  await session.flush();
  await request.connection.until("ten bytes", () => request.received === 10);
  await request.data(bytes(20_000));
  let read = 0;
  while (read < 20_000) read += (await session.readBody()).length;
  session.closeTunnelWrite();
  await request.content;
  await request.data(bytes(0), true);
  equal((await session.readBody()).length, 0);
  ok(session.bodyDone);
  session.release();
});

Deno.test("a refused extended CONNECT is an ordinary answer", async () => {
  await using origin = new Http2Origin({
    settings: [SETTINGS_ENABLE_CONNECT_PROTOCOL, 1],
    onRequest: (request) => request.respond(403, "no"),
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  await send(session, head("GET", "/", [["Upgrade", "websocket"]]));
  equal(await answer(session), "403 no");
  session.release();
});

Deno.test("without extended CONNECT, with content or to no protocol an upgrade fails by name, and nothing is sent", async () => {
  await using origin = new Http2Origin();
  await using able = new Http2Origin({ settings: [SETTINGS_ENABLE_CONNECT_PROTOCOL, 1] });
  await using use = new Use();
  for (
    const [to, protocol, framing] of [
      [origin, "websocket", { kind: "none" }],
      [able, "websocket", { kind: "length", length: 3 }],
      [able, "h2c", { kind: "none" }],
    ] as const
  ) {
    const session = await use.session(h2cPeer(to));
    throws(() => session.writeHead(head("GET", "/", [["Upgrade", protocol]]), framing), {
      type: "upgrade_failed",
      source: "upstream",
    });
    session.abort();
  }
  equal(origin.requests.length + able.requests.length, 0);
  equal(use.connector.stats().streams, 0);
});

Deno.test("a tunnel by CONNECT goes both ways", async () => {
  await using origin = new Http2Origin({
    onRequest: (request) => request.headers([[":status", "200"]]),
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  await send(
    session,
    new RequestHead({ method: "CONNECT", version: 11, target: "a.test:443", fields: new Fields() }),
  );
  equal((await finalHead(session)).status, 200);
  session.startTunnel();
  const request = await origin.request();
  equal(request.fields.get(":authority"), "a.test:443");
  equal(request.fields.has(":path"), false);
  await session.writeBody(bytes(5), false);
  await request.connection.until("five bytes", () => request.received === 5);
  await request.data(bytes(7), true);
  equal((await session.readBody()).length, 7);
  session.abort();
  equal(await request.reset, CANCEL);
});

Deno.test("an upstream that opens a stream, or pushes, is cut, and everybody learns of it", async () => {
  for (const attack of ["push", "stream"] as const) {
    await using origin = new Http2Origin({
      async onRequest({ connection, stream }) {
        const block = connection.block([[":method", "GET"], [":path", "/"]]);
        if (attack === "push") {
          const promised = Uint8Array.of(...uint32(2), ...block);
          await connection.frame(F.PUSH_PROMISE, END_HEADERS, stream, promised);
        } else await connection.frame(F.HEADERS, END_HEADERS | END_STREAM, 2, block);
      },
    });
    await using use = new Use();
    const session = await use.session(h2cPeer(origin));
    await send(session);
    const error = await failure(Promise.resolve(session.readHead()));
    equal(`${error.type} ${error.source} ${error.unprocessed}`, "invalid_response upstream false");
    session.abort(error);
    const { connection } = origin.requests[0]!;
    const goaway = await connection.next(F.GOAWAY);
    equal(new DataView(goaway.payload.buffer).getUint32(4), 1);
    await connection.closed;
  }
});
