import { equal, notEqual, ok, rejects } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerTls } from "../../src/connector/peer.ts";
import { fakePeer, FakeUpstreams } from "./fake_upstream.ts";

Deno.test("a released connection is used again, the last one first", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer();
  equal(upstreams.take(peer), null);
  const [first, second] = [await upstreams.connect(peer), await upstreams.connect(peer)];
  first.release();
  second.release();
  equal(upstreams.counts, "2 0 0 0 1");
  equal(upstreams.take(peer, "PUT"), second);
  equal(await upstreams.connect(peer), first);
  equal(second.methods.join(), "GET,PUT");
  equal(upstreams.counts, "0 2 0 0 1");
  const { opened, reused, closed, failed } = upstreams.connector.stats();
  equal(`${opened} ${reused} ${closed} ${failed}`, "2 2 0 0");
});

Deno.test("a connection that closes while idle is not given out, and its pool is forgotten", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer();
  const connection = await upstreams.connect(peer);
  connection.release();
  connection.lose();
  equal(upstreams.counts, "0 0 0 0 0");
  equal(upstreams.take(peer), null);
  equal(upstreams.connector.stats().closed, 1);
});

Deno.test("a connection that is closed but did not say so is not given out", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer();
  const [silent, fine] = [await upstreams.connect(peer), await upstreams.connect(peer)];
  fine.release();
  silent.release();
  silent.closed = true;
  equal(upstreams.take(peer), fine);
  equal(upstreams.counts, "0 1 0 0 1");
});

Deno.test("a connection leaves the pool after idleTimeout, and not before", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ idleTimeout: 1_000 });
  const connection = await upstreams.connect(peer);
  connection.release();
  upstreams.pass(900);
  equal(upstreams.take(peer), connection);
  upstreams.pass(5_000);
  equal(connection.closed, false, "it was busy");
  connection.release();
  upstreams.pass(990);
  equal(connection.closed, false);
  upstreams.pass(30);
  equal(connection.closed, true);
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("with idleTimeout 0 nothing is pooled", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ idleTimeout: 0 });
  const connection = await upstreams.connect(peer);
  connection.release();
  equal(connection.closed, true);
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("over maxIdle the peer's oldest goes, over poolSize the oldest of all", async () => {
  const upstreams = new FakeUpstreams({ poolSize: 3 });
  const one = fakePeer({ maxIdle: 2 }, 1);
  const two = fakePeer({}, 2);
  const ones = await Promise.all([1, 2, 3].map(() => upstreams.connect(one)));
  const twos = await Promise.all([1, 2].map(() => upstreams.connect(two)));
  for (const connection of ones) connection.release();
  equal(ones.map((connection) => connection.closed).join(), "true,false,false");
  for (const connection of twos) connection.release();
  equal(ones.map((connection) => connection.closed).join(), "true,true,false");
  equal(twos.map((connection) => connection.closed).join(), "false,false");
  equal(upstreams.counts, "3 0 0 0 2");
  // What is used counts as young again.
  equal(upstreams.take(one), ones[2]);
  ones[2]!.release();
  const third = await upstreams.connect(fakePeer({}, 3));
  third.release();
  equal(twos.map((connection) => connection.closed).join(), "true,false");
});

Deno.test("maxIdle 0 and poolSize 0 pool nothing", async () => {
  const upstreams = new FakeUpstreams();
  const connection = await upstreams.connect(fakePeer({ maxIdle: 0 }));
  connection.release();
  equal(connection.closed, true);
  const none = new FakeUpstreams({ poolSize: 0 });
  const other = await none.connect(fakePeer());
  other.release();
  equal(other.closed, true);
  equal(none.counts, "0 0 0 0 0");
});

Deno.test("at maxConnections requests wait, and the first in line gets the first place", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxConnections: 2 });
  const [first, second] = [await upstreams.connect(peer), await upstreams.connect(peer)];
  const order: string[] = [];
  const waiting = ["a", "b", "c"].map(async (name) => {
    const got = await upstreams.connect(peer, name);
    order.push(name);
    return got;
  });
  await turns();
  equal(upstreams.counts, "0 2 0 3 1");
  first.release();
  equal(await waiting[0], first);
  // A place that is freed by a close makes a new connection for who waits.
  second.lose();
  const made = await waiting[1]!;
  ok(made !== first && made !== second);
  made.release();
  equal(await waiting[2], made);
  equal(order.join(), "a,b,c");
  equal(first.methods.join(), "GET,a");
  equal(upstreams.made.length, 3);
  equal(upstreams.counts, "0 2 0 0 1");
});

Deno.test("never more than maxConnections, also while they are being made", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer({ maxConnections: 2 });
  const connecting = [1, 2, 3].map(() => upstreams.connect(peer));
  equal(upstreams.counts, "0 0 2 1 1");
  equal(upstreams.attempts.length, 2);
  // An attempt that fails makes room as well.
  upstreams.attempts[0]!.fail(new ProxyError("connect_refused", "no"));
  await rejects(connecting[0]!, { type: "connect_refused", source: "upstream" });
  equal(upstreams.attempts.length, 3);
  for (const attempt of upstreams.attempts.slice(1)) attempt.succeed();
  await Promise.all(connecting.slice(1));
  equal(upstreams.counts, "0 2 0 0 1");
  equal(upstreams.connector.stats().failed, 1);
});

Deno.test("who asks for a fresh connection gets one, also where an idle one holds the last place", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxConnections: 2 });
  const first = await upstreams.connect(peer);
  first.release();
  const second = await upstreams.connect(peer, "GET", undefined, true);
  notEqual(second, first);
  equal(first.closed, false);
  second.release();
  const third = await upstreams.connect(peer, "GET", undefined, true);
  ok(third !== first && third !== second);
  equal(first.closed, true);
  equal(upstreams.counts, "1 1 0 0 1");
});

Deno.test("a line that is full, or a wait that is too long, is connection_limit", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxConnections: 1, maxPending: 1, pendingTimeout: 500 });
  const busy = await upstreams.connect(peer);
  const waiting = upstreams.connect(peer);
  const limited = { type: "connection_limit", source: "upstream", status: 503 };
  await rejects(upstreams.connect(peer), limited);
  const rejected = rejects(waiting, limited);
  upstreams.pass(520);
  await rejected;
  equal(upstreams.counts, "0 1 0 0 1");
  busy.release();
  equal(upstreams.counts, "1 0 0 0 1");
});

Deno.test("who gives up leaves the line, and the place goes to the next", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxConnections: 1 });
  const busy = await upstreams.connect(peer);
  const abort = new AbortController();
  const reason = new ProxyError("client_closed", "gone");
  const gone = upstreams.connect(peer, "gone", abort.signal);
  const next = upstreams.connect(peer, "next");
  const rejected = rejects(gone, reason);
  abort.abort(reason);
  await rejected;
  await rejects(upstreams.connect(peer, "late", abort.signal), reason);
  equal(upstreams.counts, "0 1 0 1 1");
  busy.release();
  equal(await next, busy);
  equal(busy.methods.join(), "GET,next");
});

Deno.test("an abort while connecting gives up the attempt; one that comes too late closes the connection", async () => {
  const upstreams = new FakeUpstreams();
  upstreams.manual = true;
  const peer = fakePeer();
  const reason = new ProxyError("client_closed", "gone");
  const abort = new AbortController();
  const early = rejects(upstreams.connect(peer, "GET", abort.signal), reason);
  abort.abort(reason);
  await early;
  equal(upstreams.attempts[0]!.signal.aborted, true);
  const lateAbort = new AbortController();
  const late = rejects(upstreams.connect(peer, "GET", lateAbort.signal), reason);
  const connection = upstreams.attempts[1]!.succeed();
  lateAbort.abort(reason);
  await late;
  equal(connection.closed, true);
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("drain closes what is idle, and what is busy when it is released", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer();
  const [idle, busy] = [await upstreams.connect(peer), await upstreams.connect(peer)];
  idle.release();
  upstreams.connector.drain();
  equal(idle.closed, true);
  equal(busy.closed, false);
  const late = await upstreams.connect(peer);
  late.release();
  equal(late.closed, true);
  busy.release();
  equal(busy.closed, true);
  equal(upstreams.counts, "0 0 0 0 0");
});

Deno.test("close ends everything: idle, busy, connecting and waiting", async () => {
  const upstreams = new FakeUpstreams();
  const peer = fakePeer({ maxConnections: 2 });
  const [idle, busy] = [await upstreams.connect(fakePeer({}, 1)), await upstreams.connect(peer)];
  idle.release();
  upstreams.manual = true;
  const closed = { type: "shutting_down" };
  const rejected = [1, 2].map(() => rejects(upstreams.connect(peer), closed));
  equal(upstreams.counts, "1 1 1 1 2");
  upstreams.connector.close();
  await Promise.all(rejected);
  equal(idle.closed, true);
  equal(busy.closed, true);
  await rejects(upstreams.connect(peer), closed);
  equal(upstreams.counts, "0 0 0 0 0");
  equal(upstreams.wheel.size, 0);
});

Deno.test("peers that differ in trust or route never share a connection", async () => {
  const upstreams = new FakeUpstreams();
  const tls: PeerTls = {
    serverName: "a.test",
    alternativeName: null,
    verify: true,
    verifyHostname: true,
    ca: null,
    clientCertificate: null,
  };
  const address = { kind: "tcp", host: "192.0.2.1", port: 443 } as const;
  const peers: Peer[] = [
    createPeer({ address }),
    createPeer({ address: { ...address, port: 444 } }),
    createPeer({ address: { kind: "unix", path: "/192.0.2.1:443" } }),
    createPeer({ address, options: { ...PEER_OPTIONS, localAddress: "192.0.2.9" } }),
    createPeer({ address, options: { ...PEER_OPTIONS, readTimeout: 1 } }),
    createPeer({ address, tls }),
    createPeer({ address, tls: { ...tls, serverName: "b.test" } }),
    createPeer({ address, tls: { ...tls, alternativeName: "b.test" } }),
    createPeer({ address, tls: { ...tls, verify: false } }),
    createPeer({ address, tls: { ...tls, verifyHostname: false } }),
    createPeer({ address, tls: { ...tls, ca: "one" } }),
    createPeer({ address, tls: { ...tls, ca: "two" } }),
    createPeer({ address, tls: { ...tls, clientCertificate: { cert: "c", key: "k" } } }),
    createPeer({ address, tls: { ...tls, clientCertificate: { cert: "ck", key: "" } } }),
  ];
  equal(new Set(peers.map((peer) => peer.reuseKey)).size, peers.length);
  for (const peer of peers) (await upstreams.connect(peer)).release();
  for (const peer of peers) {
    const taken = upstreams.take(peer);
    notEqual(taken, null);
    equal(taken!.peer, peer);
    equal(upstreams.take(peer), null);
  }
});

Deno.test("whatever happens, the counts are right and no limit is passed", async () => {
  const upstreams = new FakeUpstreams({ poolSize: 5 });
  const peers = [1, 2, 3].map((port) =>
    fakePeer({
      maxConnections: 4,
      maxPending: 6,
      maxIdle: 2,
      pendingTimeout: 200,
      idleTimeout: 300,
    }, port)
  );
  // A fixed pseudo-random walk, so that a failure can be found again.
  let state = 42;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
  const busy = new Set<Awaited<ReturnType<typeof upstreams.connect>>>();
  const pending = new Set<Promise<void>>();
  const aborts: AbortController[] = [];
  for (let step = 0; step < 5_000; step++) {
    const choice = random(10);
    const [one] = [...busy].slice(random(busy.size), busy.size);
    if (choice < 5) {
      const abort = new AbortController();
      aborts.push(abort);
      const connecting = upstreams.connect(peers[random(3)]!, "GET", abort.signal).then(
        (connection) => void busy.add(connection),
        (error) => ok(error instanceof ProxyError),
      );
      pending.add(connecting);
      connecting.finally(() => pending.delete(connecting));
    } else if (choice < 8) {
      one?.release();
      if (one) busy.delete(one);
    } else if (choice === 8) {
      one?.lose();
      if (one) busy.delete(one);
      aborts[random(aborts.length)]?.abort();
    } else {
      upstreams.pass(random(100));
      upstreams.made.filter((made) => !made.busy && !made.closed)[random(3)]?.lose();
    }
    await turns();
    const stats = upstreams.connector.stats();
    const alive = upstreams.made.filter((made) => !made.closed);
    // A connection that somebody has just been given shows as busy a moment before the test knows of it.
    equal(stats.active, alive.filter((made) => made.busy).length);
    equal(stats.idle, alive.filter((made) => !made.busy).length);
    equal(stats.opened - stats.closed, alive.length);
    ok(stats.idle <= 5);
    for (const peer of stats.perPeer.values()) {
      ok(peer.idle <= 2 && peer.pending <= 6);
      ok(peer.idle + peer.active + peer.connecting <= 4);
      ok(peer.pending === 0 || peer.idle === 0, "somebody waits beside an idle connection");
    }
  }
  upstreams.connector.close();
  await Promise.all(pending);
  equal(upstreams.counts, "0 0 0 0 0");
  equal(upstreams.wheel.size, 0);
});

async function turns(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}
