/** Connections that carry several requests at a time: who gets a place on them, and who waits. */
import { equal, notEqual, ok, rejects } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { peerFor } from "../../src/connector/peer.ts";
import { MOST_REMEMBERED, ProtocolMemory } from "../../src/connector/protocol_memory.ts";
import {
  autoPeer,
  evicted,
  FakeConnection,
  fakePeer,
  type FakeSharedConnection,
  FakeUpstreams,
  turns,
} from "./fake_upstream.ts";

const H2C = { protocol: "h2c" } as const;

Deno.test("requests share a connection, whose busy slots are filled before an idle one is taken", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 3;
  const peer = fakePeer(H2C);
  const all = await Promise.all(upstreams.many(peer, 4));
  equal(upstreams.made.length, 2);
  const [one, two] = [all[0]!, all[3]!] as [FakeSharedConnection, FakeSharedConnection];
  equal(one.methods.join(), "0,1,2");
  equal(two.methods.join(), "3");
  equal(upstreams.counts, "0 2 0 0 1");
  equal(upstreams.connector.stats().streams, 4);
  two.release();
  equal(upstreams.counts, "1 1 0 0 1");
  one.release();
  equal(upstreams.take(peer), one, "the busy one");
  equal(upstreams.take(peer), two, "the idle one");
  equal(upstreams.take(peer), two);
  equal(upstreams.connector.stats().reused, 5);
});

Deno.test("while the first connection is being made, as many wait for it as it may carry", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer({ ...H2C, http2: { maxStreams: 50 } });
  const connecting = upstreams.many(peer, 120);
  equal(upstreams.attempts.length, 3);
  equal(upstreams.counts, "0 0 3 0 1");
  for (const attempt of [...upstreams.attempts]) attempt.share(50);
  const all = await Promise.all(connecting) as FakeSharedConnection[];
  equal(new Set(all).size, 3);
  equal(upstreams.made.map((one) => one.methods.length).join(), "50,50,20");
});

Deno.test("a peer that carries fewer than expected gets further connections, and the next time they are expected", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer({ ...H2C, http2: { maxStreams: 10 } });
  const connecting = upstreams.many(peer, 6);
  equal(upstreams.attempts.length, 1);
  upstreams.attempts[0]!.share(2);
  await turns();
  equal(upstreams.attempts.length, 3, "two more for four more");
  for (const attempt of upstreams.attempts.slice(1)) attempt.share(2);
  const all = await Promise.all(connecting);
  equal(new Set(all).size, 3);
});

Deno.test("when the first connection turns out HTTP/1, the others go on by themselves, and the next do not wait", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = autoPeer();
  const connecting = upstreams.many(peer, 5);
  equal(upstreams.attempts.length, 1);
  upstreams.attempts[0]!.succeed();
  await turns();
  equal(upstreams.attempts.length, 5);
  for (const attempt of upstreams.attempts.slice(1)) attempt.succeed();
  const all = await Promise.all(connecting);
  equal(new Set(all).size, 5);
  void upstreams.many(peer, 3);
  equal(upstreams.attempts.length, 8);
  for (const attempt of upstreams.attempts.slice(5)) attempt.succeed();
});

Deno.test("a connection that cannot be made fails all who wait for it, each by an error of its own", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const connecting = upstreams.many(fakePeer(H2C), 3);
  upstreams.attempts[0]!.fail(new ProxyError("connect_refused", "no", { retry: true }));
  const errors = await Promise.all(connecting.map((one) => one.then(() => null, (error) => error)));
  equal(
    errors.map((error) => `${error.type} ${error.source} ${error.retry}`).join(),
    Array(3).fill("connect_refused upstream true").join(),
  );
  equal(new Set(errors).size, 3);
  equal(upstreams.counts, "0 0 0 0 0");
  equal(upstreams.connector.stats().failed, 1);
});

Deno.test("who gives up leaves the others waiting, and the last one takes the attempt along", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer(H2C);
  const [early, late] = [new AbortController(), new AbortController()];
  const first = upstreams.connect(peer, "GET", early.signal);
  const second = upstreams.connect(peer, "GET", late.signal);
  early.abort(new ProxyError("client_closed", "gone"));
  await rejects(first, { type: "client_closed" });
  equal(upstreams.attempts[0]!.signal.aborted, false);
  late.abort(new ProxyError("client_closed", "gone"));
  await rejects(second, { type: "client_closed" });
  equal(upstreams.attempts[0]!.signal.aborted, true);
  await turns();
  equal(upstreams.counts, "0 0 0 0 0");
  const aborted = AbortSignal.abort(new ProxyError("client_closed", "gone"));
  await rejects(upstreams.connect(peer, "GET", aborted), { type: "client_closed" });
  await turns();
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("at maxConnections requests wait in line for a slot, within maxPending", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 2;
  const peer = fakePeer({ ...H2C, maxConnections: 1, maxPending: 2, http2: { maxStreams: 2 } });
  const [one] = await Promise.all(upstreams.many(peer, 2)) as FakeSharedConnection[];
  const waiting = [upstreams.connect(peer, "a"), upstreams.connect(peer, "b")];
  await rejects(upstreams.connect(peer), { type: "connection_limit" });
  equal(upstreams.counts, "0 1 0 2 1");
  one!.release();
  equal(await waiting[0], one);
  // A slot more than before serves who waits, too.
  one!.allow(3);
  equal(await waiting[1], one);
  equal(one!.methods.join(), "0,1,a,b");
  // When the connection is lost, those in line get a new one together.
  const more = [upstreams.connect(peer, "c"), upstreams.connect(peer, "d")];
  one!.lose();
  const [c, d] = await Promise.all(more);
  notEqual(c, one);
  equal(c, d);
});

Deno.test("after GOAWAY a connection takes nobody more, and goes when its last request is over", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 10;
  const peer = fakePeer(H2C);
  const [old] = await Promise.all(upstreams.many(peer, 2)) as FakeSharedConnection[];
  old!.allow(0, "goaway");
  equal(upstreams.take(peer), null);
  notEqual(await upstreams.connect(peer), old);
  old!.release();
  equal(old!.closed, false);
  old!.release();
  equal(old!.closed, true);
  equal(evicted(upstreams, peer), "goaway:1");
  // While it is idle it goes at once.
  const idle = upstreams.made[1] as FakeSharedConnection;
  idle.release();
  idle.allow(0, "ping_timeout");
  equal(idle.closed, true);
  equal(evicted(upstreams, peer), "goaway:1,ping_timeout:1");
});

Deno.test("a connection that only finishes what it carries keeps no place under maxConnections", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 2;
  const peer = fakePeer({ ...H2C, maxConnections: 1, http2: { maxStreams: 2 } });
  const [old] = await Promise.all(upstreams.many(peer, 2)) as FakeSharedConnection[];
  const waiting = [upstreams.connect(peer, "a"), upstreams.connect(peer, "b")];
  equal(upstreams.counts, "0 1 0 2 1");
  old!.allow(0, "goaway");
  const [a, b] = await Promise.all(waiting);
  equal(a, b);
  notEqual(a, old);
  equal(upstreams.counts, "0 2 0 0 1");
  const last = upstreams.connect(peer);
  equal(upstreams.counts, "0 2 0 1 1");
  // Its place is not given away twice.
  old!.release();
  old!.release();
  equal(upstreams.counts, "0 1 0 1 1");
  a!.release();
  equal(await last, a);
});

Deno.test("a connection made beforehand serves all who wait in line", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer({ ...H2C, maxConnections: 1, prewarm: 1, http2: { maxStreams: 5 } });
  const end = upstreams.connector.keepWarm(peer);
  const waiting = upstreams.many(peer, 3);
  equal(upstreams.counts, "0 0 1 3 1");
  const shared = upstreams.attempts[0]!.share(5);
  const all = await Promise.all(waiting);
  equal(new Set(all).size, 1);
  equal(all[0], shared);
  end();
});

Deno.test("max-streams that changes in mid-air bounds what comes, and harms nobody that is there", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 4;
  const peer = fakePeer(H2C);
  const [one] = await Promise.all(upstreams.many(peer, 4)) as FakeSharedConnection[];
  one!.allow(2);
  one!.release();
  one!.release();
  equal(upstreams.take(peer), null, "two of two are busy");
  one!.release();
  equal(upstreams.take(peer), one);
  one!.allow(5);
  for (let i = 0; i < 3; i++) equal(upstreams.take(peer), one);
  equal(upstreams.take(peer), null);
  equal(one!.closed, false);
});

Deno.test("maxRequests and maxAge end a shared connection, once what runs on it is over", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 10;
  const counted = fakePeer({ ...H2C, maxRequests: 3 }, 1);
  const all = await Promise.all(upstreams.many(counted, 4)) as FakeSharedConnection[];
  equal(upstreams.made.map((one) => one.methods.length).join(), "3,1");
  for (const one of all.slice(0, 3)) one.release();
  equal(evicted(upstreams, counted), "max_requests:1");
  const aging = fakePeer({ ...H2C, maxAge: 1_000 }, 2);
  const old = await upstreams.connect(aging) as FakeSharedConnection;
  upstreams.pass(1_100);
  const young = await upstreams.connect(aging) as FakeSharedConnection;
  notEqual(young, old);
  equal(old.closed, false);
  old.release();
  equal(evicted(upstreams, aging), "max_age:1");
});

Deno.test("an idle shared connection leaves after idleTimeout, and is prewarmed like any other", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 10;
  const peer = fakePeer({ ...H2C, idleTimeout: 1_000, prewarm: 1 });
  const end = upstreams.connector.keepWarm(peer);
  await turns();
  equal(upstreams.counts, "1 0 0 0 1");
  const warm = upstreams.take(peer);
  equal(warm, upstreams.made[0]);
  await turns();
  equal(upstreams.counts, "1 1 0 0 1", "another one is ready");
  end();
  warm!.release();
  upstreams.pass(1_100);
  equal(upstreams.counts, "0 0 0 0 0");
  equal(evicted(upstreams, peer), "idle_timeout:2");
});

Deno.test("a drain lets what runs on a shared connection end, and keeps others off it", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 10;
  const peer = fakePeer(H2C);
  const one = await upstreams.connect(peer) as FakeSharedConnection;
  upstreams.connector.drain();
  equal(one.closed, false);
  const other = await upstreams.connect(peer);
  notEqual(other, one);
  one.release();
  other.release();
  equal(evicted(upstreams, peer), "shutdown:2");
});

Deno.test("close ends shared connections, attempts and those who wait for them", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer(H2C);
  const first = upstreams.connect(peer);
  upstreams.attempts[0]!.share(1);
  const busy = await first;
  const waiting = upstreams.many(peer, 2);
  upstreams.connector.close();
  for (const one of waiting) await rejects(one, { type: "shutting_down" });
  equal(busy.closed, true);
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("a connection with a PROXY header is shared by one client only", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 10;
  const peer = fakePeer({ ...H2C, proxyProtocol: "v2" });
  const client = (port: number) =>
    peerFor(peer, {
      source: { kind: "tcp", host: "198.51.100.1", port },
      destination: { kind: "tcp", host: "203.0.113.1", port: 443 },
    });
  const [a1, b1, a2] = await Promise.all([1, 2, 1].map((port) => upstreams.connect(client(port))));
  equal(a1, a2);
  notEqual(a1, b1);
  equal(upstreams.take(client(2)), b1);
});

Deno.test("peers of another protocol, or other windows, share no connection", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 10;
  const made = await Promise.all([
    upstreams.connect(fakePeer(H2C)),
    upstreams.connect(fakePeer({ ...H2C, http2: { streamWindow: 70_000 } })),
    upstreams.connect(autoPeer({}, 80)),
    upstreams.connect(autoPeer({ protocol: "h2" }, 80)),
  ]);
  equal(new Set(made).size, 4);
});

Deno.test("an upgrade goes over HTTP/1 where HTTP/2 does not carry it", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = autoPeer();
  const plain = upstreams.connect(peer, "GET");
  const socket = upstreams.connect(peer, "GET", undefined, false, "websocket");
  equal(upstreams.attempts.length, 1);
  const shared = upstreams.attempts[0]!.share(10);
  equal(await plain, shared);
  await turns();
  equal(upstreams.attempts.length, 2);
  equal(upstreams.attempts[1]!.peer, peer.http1);
  const single = upstreams.attempts[1]!.succeed();
  equal(await socket, single);
  // From here on it is known.
  equal(upstreams.connector.take(peer, "GET", "websocket"), null);
  single.release();
  ok(upstreams.connector.take(peer, "GET", "websocket") !== null);
});

Deno.test("an upgrade to WebSocket shares a connection that carries it, another protocol does not", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = autoPeer();
  const first = upstreams.connect(peer, "GET");
  const shared = upstreams.attempts[0]!.share(10, true);
  await first;
  equal(await upstreams.connect(peer, "GET", undefined, false, "websocket"), shared);
  const other = upstreams.connect(peer, "GET", undefined, false, "other");
  equal(upstreams.attempts[1]!.peer, peer.http1);
  upstreams.attempts[1]!.succeed();
  notEqual(await other, shared);
});

Deno.test("after HTTP_1_1_REQUIRED a peer is asked by HTTP/1 for a while", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.capacity = 10;
  const peer = autoPeer({ http2: { http1For: 5_000 } });
  const shared = await upstreams.connect(peer) as FakeSharedConnection;
  shared.onHttp1Required!();
  upstreams.capacity = 0;
  const single = await upstreams.connect(peer);
  equal(single.constructor, FakeConnection);
  equal(single.peer, peer.http1);
  upstreams.pass(5_100);
  equal(await upstreams.connect(peer), shared);
});

Deno.test("what is remembered of protocols is bounded", () => {
  const memory = new ProtocolMemory({ now: () => 0 });
  for (let port = 1; port <= MOST_REMEMBERED + 10; port++) memory.learn(autoPeer({}, port), null);
  equal(memory.size, MOST_REMEMBERED);
  equal(memory.knows(autoPeer({}, 1)), false);
  equal(memory.mayShare(autoPeer({}, 1)), true);
  equal(memory.mayShare(autoPeer({}, MOST_REMEMBERED + 10)), false);
});
