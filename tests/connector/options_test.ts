/**
 * What the options of a peer do to its connections, over fakes and a clock that stands still.
 *
 * @module
 */
import { deepEqual, equal, notEqual, ok, rejects, throws } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { MOST_HISTORIES } from "../../src/connector/history.ts";
import { createPeer, PEER_OPTIONS, peerFor, type PeerTls } from "../../src/connector/peer.ts";
import { UNSUPPORTED_PEER_OPTIONS } from "../../src/connector/unsupported.ts";
import { autoPeer, evicted, fakePeer, FakeUpstreams, turns } from "./fake_upstream.ts";

Deno.test("a connection as old as maxAge carries no further request", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxAge: 5_000, idleTimeout: 60_000 });
  const connection = await upstreams.connect(peer);
  upstreams.pass(3_000);
  connection.release();
  equal(upstreams.take(peer), connection, "it is young enough");
  upstreams.pass(2_000);
  equal(connection.closed, false, "it is busy");
  connection.release();
  equal(connection.closed, true);
  equal(evicted(upstreams, peer), "max_age:1");
});

Deno.test("a connection that grows old while it is idle leaves the pool", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxAge: 5_000, idleTimeout: 60_000 });
  const connection = await upstreams.connect(peer);
  connection.release();
  upstreams.pass(4_980);
  equal(connection.closed, false);
  upstreams.pass(40);
  equal(connection.closed, true);
  equal(evicted(upstreams, peer), "max_age:1");
});

Deno.test("a connection carries maxRequests and no more, also for those who wait", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxRequests: 2, maxConnections: 1 });
  const first = await upstreams.connect(peer);
  const waiting = [upstreams.connect(peer), upstreams.connect(peer)];
  first.release();
  equal(await waiting[0], first);
  first.release();
  const second = await waiting[1]!;
  notEqual(second, first);
  equal(first.closed, true);
  equal(first.methods.length, 2);
  equal(evicted(upstreams, peer), "max_requests:1");
});

Deno.test("why connections end is counted by peer", async () => {
  const upstreams = new FakeUpstreams({ poolSize: 2 });
  const peer = fakePeer({ maxIdle: 1, idleTimeout: 1_000 });
  const [a, b] = [await upstreams.connect(peer), await upstreams.connect(peer)];
  a.release();
  b.release();
  upstreams.pass(1_020);
  const c = await upstreams.connect(peer);
  c.release();
  c.lose();
  const d = await upstreams.connect(peer);
  d.lose();
  const e = await upstreams.connect(peer);
  e.release();
  e.stray = true;
  e.lose();
  const f = await upstreams.connect(peer);
  upstreams.connector.drain();
  f.release();
  equal(
    evicted(upstreams, peer),
    "idle_timeout:1,lru:1,peer_closed:1,stray_bytes:1,not_reusable:1,shutdown:1",
  );
  const history = upstreams.connector.stats().history.get(peer.label)!;
  equal(`${history.opened} ${history.failed} ${history.connect.count}`, "6 0 6");
});

Deno.test("failures are counted by peer and type, reuse by peer", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer();
  for (const type of ["connect_refused", "connect_refused", "connect_timeout"] as const) {
    const failing = rejects(upstreams.connect(peer), { type });
    upstreams.attempts.at(-1)!.fail(new ProxyError(type, "no"));
    await failing;
  }
  upstreams.manual = false;
  const connection = await upstreams.connect(peer);
  connection.release();
  equal(upstreams.take(peer), connection);
  const history = upstreams.connector.stats().history.get(peer.label)!;
  deepEqual(history.failures, { connect_refused: 2, connect_timeout: 1 });
  equal(`${history.failed} ${history.opened} ${history.reused}`, "3 1 1");
});

Deno.test("histories are bounded: the peer used longest ago is forgotten", async () => {
  const upstreams = new FakeUpstreams({ poolSize: 0 });
  for (let port = 1; port <= MOST_HISTORIES + 5; port++) {
    (await upstreams.connect(fakePeer({}, port))).release();
  }
  const { history } = upstreams.connector.stats();
  equal(history.size, MOST_HISTORIES);
  equal(history.has("192.0.2.1:5"), false);
  ok(history.has("192.0.2.1:6"));
});

Deno.test("keepWarm keeps idle connections ready, and makes new ones for those that are taken", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ prewarm: 3 });
  const end = upstreams.connector.keepWarm(peer);
  await turns();
  equal(upstreams.counts, "3 0 0 0 1");
  equal(upstreams.made.every((made) => made.parked), true);
  const taken = [upstreams.take(peer), upstreams.take(peer)];
  await turns();
  equal(upstreams.counts, "3 2 0 0 1");
  upstreams.made.find((made) => !made.busy)!.lose();
  await turns();
  equal(upstreams.counts, "3 2 0 0 1");
  for (const one of taken) one!.release();
  equal(upstreams.counts, "5 0 0 0 1", "those that are there stay");
  end();
  end();
  for (let i = 0; i < 5; i++) upstreams.take(peer)!.lose();
  await turns();
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("keepWarm replaces what timed out, and ends with the last who asked for it", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ prewarm: 1, idleTimeout: 1_000 });
  const ends = [upstreams.connector.keepWarm(peer), upstreams.connector.keepWarm(peer)];
  await turns();
  upstreams.pass(1_020);
  await turns();
  equal(upstreams.made.length, 2);
  equal(upstreams.counts, "1 0 0 0 1");
  ends[0]!();
  upstreams.pass(1_020);
  await turns();
  equal(upstreams.made.length, 3);
  ends[1]!();
  upstreams.pass(1_020);
  await turns();
  equal(upstreams.counts, "0 0 0 0 0");
  equal(upstreams.wheel.size, 0);
});

Deno.test("keepWarm slows down while the peer fails, and stays under every limit", async () => {
  const upstreams = new FakeUpstreams({
    poolSize: 4,
    warmBackoff: { base: 1_000, cap: 8_000, random: () => 0 },
  });
  upstreams.manual = true;
  const peer = fakePeer({ prewarm: 100, maxIdle: 10, maxConnections: 3 });
  const end = upstreams.connector.keepWarm(peer);
  for (const wait of [500, 1_000, 2_000, 4_000, 4_000]) {
    const count = upstreams.attempts.length;
    equal(upstreams.counts, "0 0 1 0 1", "one attempt at a time");
    upstreams.attempts.at(-1)!.fail(new ProxyError("connect_refused", "no"));
    await turns();
    upstreams.pass(wait - 20);
    equal(upstreams.attempts.length, count);
    upstreams.pass(40);
    equal(upstreams.attempts.length, count + 1);
  }
  upstreams.manual = false;
  upstreams.attempts.at(-1)!.succeed();
  await turns();
  equal(upstreams.counts, "3 0 0 0 1");
  const other = upstreams.connector.keepWarm(fakePeer({ prewarm: 3 }, 2));
  await turns();
  equal(upstreams.counts, "4 0 0 0 2", "no connection of another peer is given up for it");
  end();
  other();
  upstreams.connector.close();
  equal(upstreams.wheel.size, 0);
});

Deno.test("a closed or draining connector warms nothing", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ prewarm: 2 });
  upstreams.connector.keepWarm(peer);
  await turns();
  upstreams.connector.drain();
  await turns();
  equal(upstreams.counts, "0 0 0 0 1");
  upstreams.connector.close();
  upstreams.connector.keepWarm(peer)();
  await turns();
  equal(upstreams.made.length, 2);
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("with the PROXY protocol a connection is only for the client that it was made for", async () => {
  const upstreams = new FakeUpstreams();
  const base = fakePeer({ proxyProtocol: "v2", maxConnections: 2 });
  const [one, two, three] = [1, 2, 3].map((port) => peerFor(base, client(port)));
  const first = await upstreams.connect(one!);
  first.release();
  equal(upstreams.take(two!), null);
  equal(upstreams.take(base), null);
  equal(upstreams.take(peerFor(base, client(1))), first);
  const second = await upstreams.connect(two!);
  // All share the limits: the third waits, and gets a connection of its own.
  const waiting = upstreams.connect(three!);
  equal(upstreams.counts, "0 2 0 1 1");
  first.release();
  const third = await waiting;
  equal(first.closed, true);
  equal(third.peer.clientKey, three!.clientKey);
  // An idle one that is announced for somebody else holds no place.
  second.release();
  const fourth = await upstreams.connect(one!);
  equal(second.closed, true);
  equal(fourth.peer.client!.source, one!.client!.source);
  equal(evicted(upstreams, base), "replaced:2");
});

Deno.test("without the PROXY protocol a peer is the same for every client", () => {
  const peer = fakePeer();
  equal(peerFor(peer, client(1)), peer);
  equal(peer.clientKey, "");
});

Deno.test("options that change trust, route or limits are in the reuse key", () => {
  const address = { kind: "tcp", host: "192.0.2.1", port: 443 } as const;
  const tls = {
    serverName: "a.test",
    alternativeName: null,
    verify: true,
    verifyHostname: true,
    ca: null,
    clientCertificate: null,
  };
  const proxy = { address: { ...address, port: 3128 }, headers: [["a", "b"]] as const };
  const keys = [
    createPeer({ address }),
    ...[
      { groupKey: "a" },
      { groupKey: "b" },
      { proxyProtocol: "v1" as const },
      { proxyProtocol: "v2" as const },
      { proxy },
      { proxy: { ...proxy, headers: [["a", "c"]] as const } },
      { proxy: { ...proxy, address: { kind: "unix", path: "/p" } as const } },
      { localAddress: "192.0.2.2" },
      { localAddress: "192.0.2.2", localAddressFallback: true },
      { tcpKeepAlive: 7 },
    ].map((options) => createPeer({ address, options: { ...PEER_OPTIONS, ...options } })),
    createPeer({ address, tls }),
    createPeer({ address, tls: { ...tls, minVersion: "TLSv1.3" } }),
    createPeer({ address, tls: { ...tls, maxVersion: "TLSv1.2" } }),
    createPeer({ address, tls, options: { ...PEER_OPTIONS, protocol: "h2" } }),
    createPeer({ address, tls, options: { ...PEER_OPTIONS, protocol: "auto" } }),
    createPeer({ address, options: { ...PEER_OPTIONS, protocol: "h2c" } }),
    createPeer({
      address,
      options: { ...PEER_OPTIONS, protocol: "h2c", http2: { maxStreams: 7 } },
    }),
  ].map((peer) => peer.reuseKey);
  equal(new Set(keys).size, keys.length);
});

Deno.test("h2 without TLS and h2c with it are mistakes of the config", () => {
  const address = { kind: "tcp", host: "192.0.2.1", port: 1 } as const;
  const tls = autoPeer().tls;
  const make = (protocol: "h2" | "h2c", tls: PeerTls | null) => () =>
    createPeer({ address, tls, options: { ...PEER_OPTIONS, protocol } });
  throws(make("h2", null), { type: "config_error" });
  throws(make("h2c", tls), { type: "config_error" });
  equal(make("h2", tls)().mayShare, true);
  equal(make("h2c", null)().http1, null);
});

Deno.test("who may speak both versions has a form for HTTP/1 alone, with the same identity", () => {
  const peer = autoPeer();
  equal(peer.mayShare, true);
  equal(peer.http1!.tls, peer.tls);
  equal(peer.http1!.reuseKey, autoPeer({ protocol: "h1" }).reuseKey);
  const clear = fakePeer({ protocol: "auto" });
  equal(clear.mayShare, false);
  equal(clear.reuseKey, fakePeer().reuseKey);
});

Deno.test("a unix socket behind a proxy is a mistake of the config", () => {
  throws(
    () =>
      createPeer({
        address: { kind: "unix", path: "/s" },
        options: {
          ...PEER_OPTIONS,
          proxy: { address: { kind: "tcp", host: "p", port: 1 }, headers: [] },
        },
      }),
    { type: "config_error" },
  );
});

Deno.test("what cannot be set says why, and is none of what can be", () => {
  const names = Object.keys(UNSUPPORTED_PEER_OPTIONS);
  ok(names.includes("tcp_fast_open") && names.includes("dscp") && names.includes("tcp_recv_buf"));
  for (const name of names) {
    ok(/^[a-z0-9_]+$/.test(name));
    ok(UNSUPPORTED_PEER_OPTIONS[name]!.length > 20);
    const camel = name.replace(/_./g, (two) => two[1]!.toUpperCase());
    equal(camel in PEER_OPTIONS, false);
  }
});

function client(port: number) {
  return {
    source: { kind: "tcp", host: "198.51.100.1", port },
    destination: { kind: "tcp", host: "203.0.113.1", port: 443 },
  } as const;
}
