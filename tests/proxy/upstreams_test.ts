import assert from "node:assert/strict";
import type { Outcome } from "../../src/balancer/backend.ts";
import { ManualClock } from "../../src/base/clock.ts";
import { ProxyError } from "../../src/base/error.ts";
import { Breaker, type BreakerLimits } from "../../src/connector/breaker.ts";
import { PEER_OPTIONS } from "../../src/connector/peer.ts";
import { Upstreams } from "../../src/proxy/upstreams.ts";
import { ANSWERED, endpoint, input, makeGroup } from "../balancer/support.ts";

const FAILED: Outcome = { kind: "failed", status: 0, latency: 5 };
const CANCELLED: Outcome = { kind: "cancelled", status: 0, latency: 5 };

function make(limits: Partial<BreakerLimits> | null = null) {
  const { group, health } = makeGroup([
    endpoint("10.0.0.1:80", 1, { labels: { zone: "a" } }),
    endpoint("10.0.0.2:80", 1, { labels: { zone: "b" } }),
  ]);
  const clock = new ManualClock();
  const breaker = limits === null ? null : new Breaker(limits, clock);
  const upstreams = new Upstreams(new Map([["pool", { group, breaker }]]), PEER_OPTIONS);
  return { upstreams, group, health, breaker, clock };
}

function errorOf(action: () => unknown): ProxyError {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof ProxyError);
    return error;
  }
  throw new assert.AssertionError({ message: "nothing was thrown" });
}

Deno.test("a choice is counted while it runs, and settled once", () => {
  const { upstreams, health } = make();
  const choice = upstreams.choose("pool", input(), null);
  const backend = choice.backend!;
  assert.equal(choice.peer, backend.peer);
  assert.equal(choice.group?.name, "pool");
  assert.equal(backend.load.inFlight, 1);
  choice.settle(ANSWERED);
  choice.settle(FAILED);
  assert.equal(backend.load.inFlight, 0);
  assert.equal(backend.load.failures, 0);
  assert.deepEqual(health.recorded, [[backend.id, ANSWERED]]);
});

Deno.test("backends that were tried come last", () => {
  const { upstreams } = make();
  const first = upstreams.choose("pool", input(), null).backend!;
  for (let i = 0; i < 4; i++) {
    assert.notEqual(upstreams.choose("pool", input(), new Set([first])).backend, first);
  }
});

Deno.test("the breaker counts failures and statuses from 500, and lets nobody in when open", () => {
  const { upstreams, breaker, clock } = make({ consecutiveFailures: 2, openTime: 5_000 });
  upstreams.choose("pool", input(), null).settle({ ...ANSWERED, status: 404 });
  upstreams.choose("pool", input(), null).settle({ ...ANSWERED, status: 500 });
  upstreams.choose("pool", input(), null).settle(CANCELLED);
  assert.equal(breaker!.state, "closed");
  upstreams.choose("pool", input(), null).settle(FAILED);
  assert.equal(breaker!.state, "open");
  const error = errorOf(() => upstreams.choose("pool", input(), null));
  assert.equal(error.type, "circuit_open");
  assert.equal(error.status, 503);
  assert.equal(error.retryAfter, 5_000);
  clock.advance(2_000);
  assert.equal(errorOf(() => upstreams.choose("pool", input(), null)).retryAfter, 3_000);
});

Deno.test("a group without a usable member gives its ticket back", () => {
  const { upstreams, group, breaker } = make({ maxRequests: 1 });
  group.update([]);
  for (let i = 0; i < 3; i++) {
    assert.equal(errorOf(() => upstreams.choose("pool", input(), null)).type, "no_upstream");
  }
  assert.equal(breaker!.stats().active, 0);
  assert.equal(breaker!.state, "closed");
});

Deno.test("no more wait for a connection than the breaker lets", () => {
  const { upstreams, breaker } = make({ maxPending: 1 });
  const [one, two] = [0, 0].map(() => upstreams.choose("pool", input(), null));
  one!.startWaiting();
  assert.equal(errorOf(() => two!.startWaiting()).type, "connection_limit");
  one!.stopWaiting();
  two!.startWaiting();
  two!.stopWaiting();
  assert.equal(breaker!.stats().pending, 0);
});

Deno.test("what upstreamPeer returns is a group, a member, a subset or a peer", () => {
  const { upstreams } = make();
  const resolve = (choice: Parameters<Upstreams["resolve"]>[0]) =>
    upstreams.resolve(choice, input(), null);
  assert.equal(resolve("pool").group?.name, "pool");
  assert.equal(resolve({ upstream: "pool", backend: "10.0.0.2:80" }).backend!.id, "10.0.0.2:80");
  for (let i = 0; i < 4; i++) {
    const { backend } = resolve({ upstream: "pool", subset: { zone: "b" } });
    assert.equal(backend!.id, "10.0.0.2:80");
  }
  const named = resolve("10.9.9.9:81");
  assert.equal(named.backend, null);
  assert.equal(named.group, null);
  assert.equal(named.peer.label, "10.9.9.9:81");
  named.settle(FAILED);
  assert.equal(resolve({ address: "10.9.9.9:81" }).peer, named.peer, "so that its pool is found");
  const secure = resolve({ address: "10.9.9.9:81", tls: { serverName: "name.test" } }).peer;
  assert.equal(secure.tls?.serverName, "name.test");
  assert.equal(secure.tls?.verify, true);
  assert.notEqual(secure.reuseKey, named.peer.reuseKey);
  const h2c = resolve({ address: "10.9.9.9:81", protocol: "h2c", http2: { maxStreams: 7 } }).peer;
  assert.equal(h2c.options.protocol, "h2c");
  assert.equal(h2c.options.http2.maxStreams, 7);
  assert.notEqual(h2c.reuseKey, named.peer.reuseKey);
});

Deno.test("a choice that names nothing is the plugin's mistake: 500, and nobody is counted", () => {
  const { upstreams, breaker } = make({ maxRequests: 1 });
  const wrong = ["not an address", { upstream: "nobody" }, { upstream: "pool", backend: "x:1" }]
    .concat(
      { address: "10.0.0.1:1", protocol: "h2" } as never,
      { address: "10.0.0.1:1", protocol: "h2c", tls: true } as never,
      { address: "10.0.0.1:1", protocol: "h2c", http2: { maxStreams: 0 } } as never,
      { address: "10.0.0.1:1", protocol: "h2c", http2: { pingTimeout: 0 } } as never,
      { address: "10.0.0.1:1", protocol: "h2c", http2: { streamWindow: 9 } } as never,
    );
  for (const choice of wrong) {
    const error = errorOf(() => upstreams.resolve(choice, input(), null));
    assert.equal(error.status, 500, JSON.stringify(choice));
    assert.equal(error.source, "internal");
  }
  assert.equal(breaker!.stats().active, 0);
});

Deno.test("peers that plugins name are forgotten when there are too many", () => {
  const { upstreams } = make();
  const peer = (i: number) => upstreams.resolve(`10.1.${i >> 8}.${i & 255}:80`, input(), null).peer;
  const first = peer(0);
  for (let i = 1; i < 1024; i++) peer(i);
  assert.equal(peer(0), first);
  peer(1024);
  assert.notEqual(peer(0), first);
});
