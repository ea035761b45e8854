/** HTTP/2 connections to upstreams as a whole: how they begin, live, and end. */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { Connector } from "../../src/connector/connector.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerOptions } from "../../src/connector/peer.ts";
import {
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  HTTP_1_1_REQUIRED,
  PROTOCOL_ERROR,
  SETTINGS_ENABLE_CONNECT_PROTOCOL,
  SETTINGS_INITIAL_WINDOW_SIZE,
  SETTINGS_MAX_CONCURRENT_STREAMS,
  SETTINGS_TIMEOUT,
} from "../../src/http2/constants.ts";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  F,
  Http2Origin,
  type Http2OriginConnection,
  makeFrame,
} from "../support/http2_origin.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startRawOrigin } from "../support/raw_origin.ts";
import { answer, bytes, failure, h2cPeer, head, send } from "./http2_use.ts";
import { Use } from "./real_upstream.ts";

function tlsPeer(
  port: number,
  options: Partial<PeerOptions> = {},
  tls: Partial<Peer["tls"]> = {},
): Peer {
  return createPeer({
    address: { kind: "tcp", host: "127.0.0.1", port },
    tls: {
      serverName: "a.test",
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      ca: testCertificates().ca,
      clientCertificate: null,
      ...tls,
    },
    options: { ...PEER_OPTIONS, protocol: "auto", ...options },
  });
}

/** An HTTPS origin of both versions, by ALPN. */
function tlsOrigin(options: ConstructorParameters<typeof Http2Origin>[0] = {}): Http2Origin {
  const { cert, key } = testCertificates().server;
  return new Http2Origin({ tls: { cert, key }, ...options });
}

/** Answers HTTP/1.1 on a connection of {@linkcode Http2Origin}, which has read what it takes for a preface. */
function speakHttp1(connection: Http2OriginConnection): boolean {
  void connection.write(
    new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
  );
  return false;
}

async function get(use: Use, peer: Peer, path = "/"): Promise<string> {
  const session = await use.session(peer);
  try {
    await send(session, head("GET", path));
    return await answer(session);
  } finally {
    session.release();
  }
}

Deno.test("a connection begins with preface, SETTINGS and a large window, and waits for SETTINGS before any request", async () => {
  await using origin = new Http2Origin({ onConnection: () => false });
  await using use = new Use();
  const connecting = use.connector.connect(
    h2cPeer(origin, { streamWindow: 100_000, maxStreams: 7, headerListBytes: 9_999 }),
    "GET",
  );
  const connection = await origin.connection();
  const settings = await connection.next(F.SETTINGS);
  const view = new DataView(settings.payload.buffer);
  const told = new Map<number, number>();
  for (let at = 0; at < settings.payload.length; at += 6) {
    told.set(view.getUint16(at), view.getUint32(at + 2));
  }
  deepEqual([told.get(2), told.get(4), told.get(5), told.get(6)], [0, 100_000, 65_536, 9_999]);
  const update = await connection.next(F.WINDOW_UPDATE);
  equal(new DataView(update.payload.buffer).getUint32(0), 700_000 - 65_535);
  equal(use.connector.stats().connecting, 1);
  equal(connection.frames.some(({ type }) => type === F.HEADERS), false);
  await connection.settings(SETTINGS_MAX_CONCURRENT_STREAMS, 3);
  const session = await connecting;
  await send(session);
  const request = await origin.request();
  await connection.next(F.SETTINGS, 1, ACK);
  await request.respond(200, "fine");
  equal(await answer(session), "200 fine");
  session.release();
});

Deno.test("who sends no SETTINGS, something else, or takes no requests, is no connection, and nothing was sent", async () => {
  await using silent = new Http2Origin({ onConnection: () => false });
  await using other = new Http2Origin({ onConnection: speakHttp1 });
  await using closing = new Http2Origin({
    onConnection: (connection) => {
      connection.close();
      return false;
    },
  });
  await using none = new Http2Origin({ settings: [SETTINGS_MAX_CONCURRENT_STREAMS, 0] });
  await using use = new Use();
  const cases: [Http2Origin, string, RegExp][] = [
    [silent, "connect_timeout", /SETTINGS of the upstream did not come/],
    [other, "invalid_response", /does it speak HTTP\/2\?/],
    [closing, "connection_closed", /before its SETTINGS/],
    [none, "connection_limit", /takes no requests/],
  ];
  for (const [origin, type, words] of cases) {
    const peer = h2cPeer(origin, { settingsTimeout: origin === silent ? 150 : 30_000 });
    const error = await failure(use.connector.connect(peer, "POST"));
    equal(`${error.type} ${error.source}`, `${type} upstream`);
    ok(words.test(error.message), error.message);
    await (await origin.connection()).closed;
  }
  equal(use.connector.stats().failed, 4);
});

Deno.test("giving up while SETTINGS are awaited closes the connection", async () => {
  await using origin = new Http2Origin({ onConnection: () => false });
  await using use = new Use();
  const abort = new AbortController();
  const connecting = use.connector.connect(h2cPeer(origin), "GET", abort.signal);
  const connection = await origin.connection();
  await connection.next(F.SETTINGS);
  abort.abort();
  await rejects(connecting);
  await connection.closed;
  equal(use.connector.stats().connecting, 0);
});

Deno.test("hundreds of requests at a time share few connections", async () => {
  let most = 0;
  let now = 0;
  await using origin = new Http2Origin({
    settings: [SETTINGS_MAX_CONCURRENT_STREAMS, 50],
    async onRequest(request) {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      now--;
      await request.respond(200, request.path);
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin, { maxStreams: 100 }, { maxConnections: 4 });
  const paths = Array.from({ length: 600 }, (_, i) => `/${i}`);
  const answers = await Promise.all(paths.map((path) => get(use, peer, path)));
  deepEqual(answers, paths.map((path) => `200 ${path}`));
  equal(origin.connections.length, 4);
  for (const connection of origin.connections) ok(connection.requests.length >= 50);
  ok(most > 100, `${most} at a time`);
  const { opened, streams, pending } = use.connector.stats();
  equal(`${opened} ${streams} ${pending}`, "4 0 0");
});

Deno.test("a limit of streams that changes in mid-air is kept to", async () => {
  await using origin = new Http2Origin({ settings: [SETTINGS_MAX_CONCURRENT_STREAMS, 2] });
  await using use = new Use();
  const peer = h2cPeer(origin, {}, { maxConnections: 1 });
  const all = Array.from({ length: 5 }, (_, i) => get(use, peer, `/${i}`));
  const connection = await origin.connection();
  await connection.until("two requests", () => connection.requests.length === 2);
  await connection.settings(SETTINGS_MAX_CONCURRENT_STREAMS, 4);
  await connection.until("four requests", () => connection.requests.length === 4);
  await connection.settings(SETTINGS_MAX_CONCURRENT_STREAMS, 1);
  await connection.next(F.SETTINGS, 3, ACK);
  for (let i = 0; i < 3; i++) await connection.requests[i]!.respond(200, "x");
  await Promise.all(all.slice(0, 3));
  equal(connection.requests.length, 4, "one of one is there still");
  await connection.requests[3]!.respond(200, "x");
  await connection.until("five requests", () => connection.requests.length === 5);
  await connection.requests[4]!.respond(200, "x");
  deepEqual(await Promise.all(all), Array(5).fill("200 x"));
});

Deno.test("an initial window that changes in mid-air moves the windows of running streams", async () => {
  await using origin = new Http2Origin({
    windows: false,
    settings: [SETTINGS_INITIAL_WINDOW_SIZE, 100],
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin));
  await send(session, head("POST"), { kind: "stream" });
  const writing = session.writeBody(bytes(1_000), true);
  const request = await origin.request();
  const { connection } = request;
  await connection.until("100 bytes", () => request.received === 100);
  await connection.settings(SETTINGS_INITIAL_WINDOW_SIZE, 50);
  await connection.settings(SETTINGS_INITIAL_WINDOW_SIZE, 2_000);
  deepEqual(await request.content, bytes(1_000));
  await writing;
  session.abort();
});

Deno.test("an idle connection is asked by PING after ping_interval, and goes when it does not answer", async () => {
  await using origin = new Http2Origin({
    pong: false,
    onRequest: (request) => request.respond(200, "a"),
  });
  await using use = new Use();
  const peer = h2cPeer(origin, { pingInterval: 300, pingTimeout: 1_500 });
  equal(await get(use, peer), "200 a");
  const connection = origin.connections[0]!;
  await connection.next(F.PING);
  await connection.closed;
  equal(use.evicted(peer), "ping_timeout:1");
  equal(use.connector.stats().idle, 0);
});

Deno.test("a black-holed connection fails its requests by ping_timeout, and the next ones go elsewhere", async () => {
  let dead = false;
  await using origin = new Http2Origin({
    pong: false,
    onRequest: (request) => dead ? null : request.respond(200, "alive"),
  });
  await using use = new Use();
  const peer = h2cPeer(origin, { pingInterval: 300, pingTimeout: 1_500 });
  equal(await get(use, peer), "200 alive");
  dead = true;
  const stuck = [get(use, peer, "/1"), get(use, peer, "/2")].map((one) => failure(one));
  const [one, two] = await Promise.all(stuck);
  for (const error of [one!, two!]) {
    equal(`${error.type} ${error.source} ${error.unprocessed}`, "ping_timeout upstream false");
  }
  ok(one !== two);
  dead = false;
  equal(await get(use, peer), "200 alive");
  equal(origin.connections.length, 2);
});

Deno.test("a request that times out has its silent connection asked, and both go if nobody answers", async () => {
  await using origin = new Http2Origin({ pong: false });
  await using use = new Use();
  const impatient = h2cPeer(origin, { pingTimeout: 150 }, { firstByteTimeout: 150 });
  const [first, second] = await Promise.all([
    failure(get(use, impatient, "/1")),
    failure((async () => {
      const session = await use.session(impatient);
      // Its own time has not begun: it is still being sent.
      await send(session, head("POST", "/2"), { kind: "stream" });
      await session.readHead();
    })()),
  ]);
  equal(first.type, "first_byte_timeout");
  equal(second.type, "ping_timeout");
  await origin.connections[0]!.closed;
});

Deno.test("an attempt that is given up for want of a first byte has a silent connection asked as well", async () => {
  await using origin = new Http2Origin({ pong: false });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin, { pingTimeout: 100 }));
  await send(session);
  const { connection } = await origin.request();
  // Whatever was heard before must be old by the clock of the wheel.
  await new Promise((resolve) => setTimeout(resolve, 50));
  session.abort(new ProxyError("first_byte_timeout", "per_try_timeout"));
  await connection.next(F.PING);
  await connection.closed;
});

Deno.test("a peer that answers PING, or sends anything else, stays", async () => {
  await using origin = new Http2Origin({ onRequest: (request) => request.respond(200, "a") });
  await using use = new Use();
  const peer = h2cPeer(origin, { pingInterval: 50 });
  equal(await get(use, peer), "200 a");
  await origin.connections[0]!.next(F.PING, 3);
  equal(await get(use, peer), "200 a");
  equal(origin.connections.length, 1);
});

/** What a hostile upstream sends on a connection that carries a request, and what that is. */
const ATTACKS: [string, number, (connection: Http2OriginConnection) => Promise<void>][] = [
  ["SETTINGS", ENHANCE_YOUR_CALM, async (connection) => {
    for (let i = 0; i < 50; i++) await connection.settings();
  }],
  ["PING", ENHANCE_YOUR_CALM, async (connection) => {
    for (let i = 0; i < 1500; i++) await connection.frame(F.PING, 0, 0, bytes(8));
  }],
  ["empty DATA", ENHANCE_YOUR_CALM, async (connection) => {
    await connection.headers(1, [[":status", "200"]]);
    for (let i = 0; i < 100; i++) await connection.frame(F.DATA, 0, 1, bytes(0));
  }],
  ["CONTINUATION", ENHANCE_YOUR_CALM, async (connection) => {
    await connection.frame(F.HEADERS, 0, 1, bytes(1));
    for (let i = 0; i < 100; i++) await connection.frame(F.CONTINUATION, 0, 1, bytes(0));
  }],
  ["a field block without end", ENHANCE_YOUR_CALM, async (connection) => {
    await connection.frame(F.HEADERS, 0, 1, new Uint8Array(16_384));
    for (let i = 0; i < 7; i++) {
      await connection.frame(F.CONTINUATION, 0, 1, new Uint8Array(16_384));
    }
  }],
  ["frames of no known type", ENHANCE_YOUR_CALM, async (connection) => {
    for (let i = 0; i < 200; i++) await connection.frame(0x55, 0, 0, bytes(0));
  }],
  ["resets of a stream that is over", ENHANCE_YOUR_CALM, async (connection) => {
    await connection.headers(1, [[":status", "200"]], true);
    for (let i = 0; i < 1500; i++) await connection.frame(F.RST_STREAM, 0, 1, bytes(4));
  }],
  [
    "DATA on a stream that is idle",
    PROTOCOL_ERROR,
    (connection) => connection.frame(F.DATA, 0, 99, bytes(1)),
  ],
  [
    "a frame that is too long",
    6,
    (connection) => connection.frame(F.DATA, 0, 1, new Uint8Array(70_000)),
  ],
  [
    "what is no HPACK",
    9,
    (connection) =>
      connection.frame(F.HEADERS, END_HEADERS | END_STREAM, 1, Uint8Array.of(0xff, 0xff, 0xff)),
  ],
  [
    "WINDOW_UPDATE over 2^31 - 1",
    FLOW_CONTROL_ERROR,
    (connection) => connection.windowUpdate(0, 0x7fff_ffff),
  ],
];

for (const [name, code, attack] of ATTACKS) {
  Deno.test(`a hostile upstream is cut: ${name}`, async () => {
    let calm = false;
    await using origin = new Http2Origin({
      onRequest: (request) => calm ? request.respond(200, "calm") : attack(request.connection),
    });
    await using use = new Use();
    // One stream is all that may come in, so that the window of the connection is as small.
    const peer = h2cPeer(origin, { streamWindow: 65_535, maxStreams: 2 });
    const session = await use.session(peer);
    await send(session);
    const connection = await origin.connection();
    const goaway = await connection.next(F.GOAWAY);
    equal(new DataView(goaway.payload.buffer).getUint32(4), code);
    await connection.closed;
    // What came whole before is good; everything else fails by name.
    const outcome = await answer(session).catch((error) => error);
    const wanted = ["invalid_response", "connection_closed", "incomplete_response"];
    ok(outcome === "200 " || wanted.includes(outcome.type), String(outcome));
    session.abort();
    calm = true;
    equal(await get(use, peer), "200 calm");
  });
}

Deno.test("a stream with more content than its window is reset, and its neighbours are not", async () => {
  await using origin = new Http2Origin({
    async onRequest(request) {
      if (request.path !== "/flood") return request.respond(200, "calm");
      await request.headers([[":status", "200"]]);
      for (let i = 0; i < 30; i++) await request.data(new Uint8Array(16_384));
    },
  });
  await using use = new Use();
  const peer = h2cPeer(origin, { streamWindow: 65_535, maxStreams: 2 });
  const session = await use.session(peer);
  await send(session, head("GET", "/flood"));
  const connection = await origin.connection();
  const reset = await connection.next(F.RST_STREAM);
  equal(new DataView(reset.payload.buffer).getUint32(0), FLOW_CONTROL_ERROR);
  equal((await failure(answer(session))).type, "invalid_response");
  session.abort();
  equal(await get(use, peer), "200 calm");
  equal(origin.connections.length, 1);
});

Deno.test("SETTINGS that are not acknowledged end the connection after settings_timeout", async () => {
  await using origin = new Http2Origin({
    onConnection: (connection) => {
      void connection.settings();
      return false;
    },
  });
  await using use = new Use();
  const error = await failure(get(use, h2cPeer(origin, { settingsTimeout: 500 })));
  equal(`${error.type} ${error.source}`, "invalid_response upstream");
  const goaway = await (await origin.connection()).next(F.GOAWAY);
  equal(new DataView(goaway.payload.buffer).getUint32(4), SETTINGS_TIMEOUT);
});

Deno.test("a field block that trickles is cut after settings_timeout", async () => {
  await using origin = new Http2Origin({
    onRequest: ({ connection }) => connection.frame(F.HEADERS, 0, 1, bytes(1)),
  });
  await using use = new Use();
  const error = await failure(get(use, h2cPeer(origin, { settingsTimeout: 500 })));
  equal(`${error.type} ${error.source}`, "read_timeout upstream");
});

Deno.test("a connection that does not take what is written is cut after the write timeout", async () => {
  await using origin = await startRawOrigin(async (connection) => {
    // SETTINGS with large windows, and then not a byte is read.
    await connection.send(
      makeFrame(F.SETTINGS, 0, 0, Uint8Array.of(0, 4, 0x7f, 255, 255, 255)),
    );
    await connection.send(makeFrame(F.WINDOW_UPDATE, 0, 0, Uint8Array.of(0x70, 0, 0, 0)));
    await new Promise((resolve) => connection.socket.once("close", resolve));
  });
  await using use = new Use();
  const session = await use.session(h2cPeer(origin.port, {}, { writeTimeout: 200 }));
  await send(session, head("POST"), { kind: "stream" });
  const error = await failure((async () => {
    for (;;) await session.writeBody(new Uint8Array(256 * 1024), false);
  })());
  equal(`${error.type} ${error.source}`, "write_timeout upstream");
  session.abort(error);
});

Deno.test({
  name: "auto: ALPN decides, and a second connection knows",
  ignore: !hasOpenssl,
  async fn() {
    await using both = tlsOrigin({
      alpn: ["h2", "http/1.1"],
      onRequest: (request) => request.respond(200, request.fields.get(":scheme") ?? ""),
    });
    const { cert, key } = testCertificates().server;
    await using old = await startSimpleOrigin({ tls: { cert, key } });
    await using use = new Use();
    const answers = await Promise.all([1, 2, 3].map(() => get(use, tlsPeer(both.port))));
    deepEqual(answers, Array(3).fill("200 https"));
    equal(both.connections.length, 1);
    const peer = tlsPeer(old.port);
    const texts = await Promise.all([1, 2, 3].map(() => get(use, peer)));
    deepEqual(texts, Array(3).fill("200 hello"));
    equal(old.raw.connections.length, 3);
    for (const protocol of ["h1", "h2"] as const) {
      equal(await get(use, tlsPeer(both.port, { protocol: "h2" })), "200 https", protocol);
    }
    await rejects(get(use, tlsPeer(old.port, { protocol: "h2" })), {
      type: "tls_handshake_failure",
    });
  },
});

Deno.test({
  name: "connections are never shared across trust settings",
  ignore: !hasOpenssl,
  async fn() {
    await using origin = tlsOrigin({ onRequest: (request) => request.respond(200, "a") });
    await using use = new Use();
    const { otherCa } = testCertificates();
    equal(await get(use, tlsPeer(origin.port)), "200 a");
    equal(await get(use, tlsPeer(origin.port)), "200 a");
    equal(origin.connections.length, 1);
    await rejects(get(use, tlsPeer(origin.port, {}, { ca: otherCa })), { type: "invalid_cert" });
    await rejects(get(use, tlsPeer(origin.port, {}, { serverName: "other.test" })), {
      type: "invalid_cert",
    });
    equal(await get(use, tlsPeer(origin.port, {}, { verifyHostname: false })), "200 a");
    equal(await get(use, tlsPeer(origin.port, {}, { verify: false })), "200 a");
    equal(await get(use, tlsPeer(origin.port, { groupKey: "apart" })), "200 a");
    equal(await get(use, tlsPeer(origin.port, { protocol: "h2" })), "200 a");
    equal(origin.connections.length, 5);
  },
});

Deno.test({
  name: "HTTP_1_1_REQUIRED is remembered: the peer is asked by HTTP/1 for a while, and then anew",
  ignore: !hasOpenssl,
  async fn() {
    const seen: string[] = [];
    const { cert, key } = testCertificates().server;
    // One port for both: whoever does not offer h2 gets HTTP/1.
    await using origin = new Http2Origin({
      tls: { cert, key },
      alpn: ["h2", "http/1.1"],
      onConnection: (connection) => {
        if (seen.at(-1) !== "required") return;
        return speakHttp1(connection);
      },
      onRequest: (request) => {
        seen.push("required");
        return request.rst(HTTP_1_1_REQUIRED);
      },
    });
    await using use = new Use();
    const peer = tlsPeer(origin.port, { http2: { http1For: 3_000 } });
    const error = await failure(get(use, peer));
    equal(`${error.type} ${error.unprocessed}`, "http_1_1_required true");
    equal(await get(use, peer), "200 hello");
    equal(origin.connections.length, 2);
    await new Promise((resolve) => setTimeout(resolve, 3_100));
    // The HTTP/2 connection is there still, and is tried again.
    equal((await failure(get(use, peer))).type, "http_1_1_required");
    equal(origin.connections[0]!.requests.length, 2);
    // Where nothing but HTTP/2 may be spoken there is nothing to go back to.
    const strict: ProxyError = await failure(get(use, tlsPeer(origin.port, { protocol: "h2" })));
    ok(["http_1_1_required", "invalid_response"].includes(strict.type));
    equal(strict.unprocessed, false);
  },
});

Deno.test({
  name:
    "an upgrade goes over HTTP/1 where the upstream's HTTP/2 does not carry it, and shares it where it does",
  ignore: !hasOpenssl,
  async fn() {
    let first = true;
    await using origin = tlsOrigin({
      alpn: ["h2", "http/1.1"],
      onConnection: (connection) => {
        if (first) {
          first = false;
          return;
        }
        return speakHttp1(connection);
      },
      onRequest: (request) => request.respond(200, "plain"),
    });
    await using able = tlsOrigin({
      settings: [SETTINGS_ENABLE_CONNECT_PROTOCOL, 1],
      onRequest: (request) => request.respond(200, "plain"),
    });
    await using use = new Use();
    for (const [to, version] of [[origin, 11], [able, 20]] as const) {
      const peer = tlsPeer(to.port);
      equal(await get(use, peer), "200 plain");
      const session = await use.connector.connect(peer, "GET", undefined, false, "websocket");
      equal(session.version, version);
      session.abort();
    }
  },
});

Deno.test("drain and close end HTTP/2 connections and leave no timer", async () => {
  await using origin = new Http2Origin({
    onRequest: (request) => request.path === "/" ? request.respond(200, "a") : null,
  });
  const use = new Use();
  const peer = h2cPeer(origin, { pingInterval: 50 });
  equal(await get(use, peer), "200 a");
  const running = await use.session(peer);
  await send(running, head("GET", "/wait"));
  await origin.request(2);
  use.connector.drain();
  equal(use.connector.stats().streams, 1);
  await origin.connections[0]!.requests[1]!.respond(200, "b");
  equal(await answer(running), "200 b");
  running.release();
  await origin.connections[0]!.closed;
  equal(use.evicted(peer), "shutdown:1");
  const cut = await use.session(peer);
  await send(cut);
  use.connector.close();
  await rejects(Promise.resolve().then(() => cut.readHead()));
  cut.abort();
  equal(use.wheel.size, 0);
  await use[Symbol.asyncDispose]();
  ok(use.connector instanceof Connector);
});
