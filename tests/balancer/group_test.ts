import assert from "node:assert/strict";
import type { Backend, Endpoint } from "../../src/balancer/backend.ts";
import { type GroupEvent, UpstreamGroup } from "../../src/balancer/group.ts";
import { noHealth } from "../../src/balancer/health_view.ts";
import { ManualClock } from "../../src/base/clock.ts";
import { createPeer } from "../../src/connector/peer.ts";
import {
  ANSWERED,
  assertShares,
  endpoint,
  head,
  input,
  makeGroup,
  served,
  tally,
} from "./support.ts";

const A = "10.0.0.1:80";
const B = "10.0.0.2:80";
const C = "10.0.0.3:80";
const D = "10.0.0.4:80";

function three(): Endpoint[] {
  return [endpoint(A), endpoint(B), endpoint(C)];
}

Deno.test("requests go to the usable, and to a member again when it is", () => {
  const { group, health } = makeGroup(three());
  assert.deepEqual(served(group), [A, B, C]);
  health.set(B);
  assert.deepEqual(served(group), [A, C]);
  health.set();
  assert.deepEqual(served(group), [A, B, C]);
});

Deno.test("the health view is asked after a change, not per request", () => {
  const { group, health } = makeGroup(three());
  served(group, 1000);
  assert.equal(health.asked, 3);
  health.set(A);
  health.set();
  served(group, 1000);
  assert.equal(health.asked, 6);
});

Deno.test("who failed this request comes again only when all usable ones have", () => {
  const { group, health } = makeGroup(three());
  health.set(C);
  const [a, b, c] = [A, B, C].map((id) => group.find(id)!) as [Backend, Backend, Backend];
  for (let i = 0; i < 10; i++) assert.equal(group.select(input(), new Set([a])), b);
  const both = new Set([a, b]);
  const again = new Set(Array.from({ length: 10 }, () => group.select(input(), both)));
  assert.deepEqual(again, both);
  assert.ok(!again.has(c));
  assert.notEqual(group.select(input(), new Set()), null);
});

Deno.test("no members, no weights, nobody usable: nobody is chosen, and the reason is told", () => {
  const { group, health } = makeGroup([], { panicThreshold: 0 });
  assert.equal(group.select(input(), null), null);
  assert.equal(group.emptyReason(), 'upstream "pool" has no endpoints');
  group.update([endpoint(A, 0)]);
  assert.equal(group.select(input(), null), null);
  assert.match(group.emptyReason(), /weight 0 or is taken out/);
  group.update([endpoint(A)]);
  health.set(A);
  assert.equal(group.select(input(), null), null);
  assert.equal(group.emptyReason(), 'no endpoint of upstream "pool" is usable');
});

Deno.test("when too few are usable, health is ignored; it is counted, and told once", () => {
  const events: GroupEvent[] = [];
  const { group, health } = makeGroup([...three(), endpoint(D, 3)], {
    onEvent: (event) => events.push(event),
  });
  health.set(A, B);
  // 4 of 6 are left.
  assert.deepEqual(served(group), [C, D]);
  health.set(A, D);
  assert.deepEqual(served(group, 100), [A, B, C, D]);
  health.set(A, B, D);
  assert.deepEqual(served(group, 100), [A, B, C, D]);
  assert.equal(group.panic, true);
  assert.deepEqual(group.panicCounts, { times: 1, picks: 200 });
  assert.deepEqual(group.members.map(({ state }) => state), [
    "ignored",
    "ignored",
    "ready",
    "ignored",
  ]);
  health.set(A);
  assert.deepEqual(served(group), [B, C, D]);
  assert.equal(group.panic, false);
  assert.deepEqual(events, [{ kind: "panic", total: 6, usable: 2 }, { kind: "panic_over" }]);
});

Deno.test("a group that begins in panic says so", () => {
  const events: GroupEvent[] = [];
  const health = { ...noHealth(), usable: () => false };
  const group = new UpstreamGroup({
    name: "pool",
    policy: "random",
    hashKey: null,
    endpoints: three(),
    makePeer: ({ address }) => createPeer({ address }),
    health,
    clock: new ManualClock(),
    panicThreshold: 0.1,
    onEvent: (event) => events.push(event),
  });
  assert.deepEqual(events, [{ kind: "panic", total: 3, usable: 0 }]);
  assert.notEqual(group.select(input(), null), null);
});

Deno.test("a drained member counts for nothing: neither for panic nor for a tier", () => {
  const { group, health } = makeGroup([endpoint(A), endpoint(B, 0), endpoint(C, 0), endpoint(D)]);
  group.setEnabled(D, false);
  assert.equal(group.panic, false);
  assert.deepEqual(served(group), [A]);
  health.set(B, C, D);
  assert.equal(group.panic, false);
});

Deno.test("a lower tier serves while too little of the one above is usable", () => {
  const events: GroupEvent[] = [];
  const { group, health } = makeGroup([
    endpoint(A),
    endpoint(B),
    endpoint(C, 1, { priority: 1 }),
    endpoint(D, 1, { priority: 5 }),
  ], { onEvent: (event) => events.push(event) });
  assert.deepEqual(served(group), [A, B]);
  health.set(A);
  assert.deepEqual(served(group), [B]);
  health.set(A, B);
  assert.deepEqual(served(group), [C]);
  assert.equal(group.panic, false);
  health.set(A, B, C);
  assert.deepEqual(served(group), [D]);
  assert.equal(group.servingPriority, 5);
  health.set(A, B, C, D);
  assert.deepEqual(served(group), [A, B]);
  assert.equal(group.panic, true);
  health.set();
  assert.deepEqual(served(group), [A, B]);
  const tiers = events.flatMap((event) => event.kind === "tier" ? [event.priority] : []);
  assert.deepEqual(tiers, [1, 5, 0]);
});

Deno.test("in panic, the tier of which most is usable serves", () => {
  const { group, health } = makeGroup([
    endpoint(A),
    endpoint(B, 1, { priority: 1 }),
    endpoint(C, 2, { priority: 1 }),
  ]);
  health.set(A, C);
  assert.equal(group.panic, true);
  assert.deepEqual(served(group), [B, C]);
});

Deno.test("a retry goes to the next tier before it goes back", () => {
  const { group } = makeGroup([endpoint(A), endpoint(B, 1, { priority: 1 })]);
  const tried = new Set([group.find(A)!]);
  assert.equal(group.select(input(), tried)!.id, B);
  tried.add(group.find(B)!);
  assert.equal(group.select(input(), tried)!.id, A);
});

Deno.test("a member that starts slowly has its factor of its share", () => {
  const { group, health } = makeGroup([endpoint(A, 10), endpoint(B, 10)]);
  const share = (factor: number) => {
    health.factor(B, factor);
    const backends = [group.find(A)!, group.find(B)!];
    return tally(11_000, backends, () => group.select(input(), null));
  };
  assert.deepEqual(share(0.1), [10_000, 1_000]);
  assert.equal(group.members[1]!.state, "slow_start");
  assertShares(share(0.5), [2, 1], 0.01);
  assertShares(share(1), [1, 1], 0.01);
  // A view that answers nonsense does not take a member out.
  for (const bad of [0, -1, NaN, 7]) assertShares(share(bad), [1, 1], 0.01);
});

Deno.test("an update swaps the set; who stays keeps object and counts, who leaves is counted down", () => {
  const events: GroupEvent[] = [];
  const { group } = makeGroup(three(), { onEvent: (event) => events.push(event) });
  const [a, b] = [group.find(A)!, group.find(B)!];
  for (const one of [a, b, b]) group.begin(one);
  group.update([endpoint(A, 7, { labels: { zone: "a" } }), endpoint(D)]);
  assert.equal(group.find(A), a);
  assert.equal(a.endpoint.weight, 7);
  assert.equal(a.load.inFlight, 1);
  assert.equal(group.find(B), null);
  assert.equal(group.book.size, 3);
  group.end(b, ANSWERED);
  assert.equal(group.book.size, 3);
  group.end(b, ANSWERED);
  assert.equal(group.book.size, 2);
  assert.deepEqual(events, [{ kind: "members", added: [D], removed: [B, C] }]);
  assert.deepEqual(served(group), [A, D]);
});

Deno.test("a member that comes back while its requests run has them still", () => {
  const { group, health } = makeGroup(three(), { policy: "least_connections" });
  const before = group.find(B)!;
  group.begin(before);
  group.update([endpoint(A)]);
  group.update(three());
  assert.equal(group.find(B)!.load.inFlight, 1);
  assert.deepEqual(served(group), [A, C]);
  group.end(before, ANSWERED);
  assert.deepEqual(served(group), [A, B, C]);
  // What ends on a member of an earlier set is not held against the one that is there now.
  assert.deepEqual(health.recorded, []);
});

Deno.test("if a peer cannot be made, the set stays as it was", () => {
  const { group } = makeGroup(three(), {
    makePeer: ({ address }) => {
      if (address.kind === "unix") throw new TypeError("no unix here");
      return createPeer({ address });
    },
  });
  assert.throws(() => group.update([endpoint(A, 9), endpoint("unix:/x")]), /no unix here/);
  assert.deepEqual(served(group), [A, B, C]);
  assert.equal(group.find(A)!.endpoint.weight, 1);
  assert.equal(group.book.size, 3);
});

Deno.test("one address named twice is one member, and weights from outside are made whole", () => {
  const { group } = makeGroup([
    endpoint(A, 2),
    endpoint(B, 1.4),
    endpoint(A, 3),
    endpoint(C, 0.01),
    endpoint(D, NaN),
    endpoint("10.0.0.5:80", -3),
    endpoint("10.0.0.6:80", Infinity),
  ], { policy: "ketama" });
  assert.deepEqual(group.members.map(({ weight }) => weight), [5, 1, 1, 0, 0, 65_535]);
  assert.notEqual(group.select(input(), null), null);
});

Deno.test("counts go on to the group that takes over, and the old one's requests end in them", () => {
  const first = makeGroup(three(), { policy: "least_connections" });
  const a = first.group.find(A)!;
  first.group.begin(a);
  const second = makeGroup([endpoint(A), endpoint(B)], {
    policy: "least_connections",
    book: first.group.book,
  });
  first.group.close();
  assert.equal(first.health.onChange, null);
  assert.deepEqual(served(second.group), [B]);
  // A request of the old group may still be tried again, and is counted.
  const retried = first.group.select(input(), new Set([a]))!;
  first.group.begin(retried);
  first.group.end(retried, ANSWERED);
  first.group.end(a, ANSWERED);
  assert.deepEqual(served(second.group), [A, B]);
  assert.equal(second.group.book.size, 2);
  first.group.close();
  first.group.update([]);
  assert.equal(second.group.book.size, 2);
  assert.deepEqual(first.health.recorded, []);
});

Deno.test("an outcome is counted and goes to the health view", () => {
  const { group, health } = makeGroup(three());
  const a = group.find(A)!;
  const failed = { kind: "connect_failed", status: 0, latency: 2 } as const;
  for (const outcome of [ANSWERED, failed, { kind: "cancelled", status: 0, latency: 3 } as const]) {
    group.begin(a);
    group.end(a, outcome);
  }
  assert.deepEqual(health.recorded.map(([id, { kind }]) => [id, kind]), [
    [A, "answered"],
    [A, "connect_failed"],
    [A, "cancelled"],
  ]);
  const { inFlight, requests, failures, ewma } = a.load;
  assert.deepEqual({ inFlight, requests, failures, ewma }, {
    inFlight: 0,
    requests: 3,
    failures: 1,
    ewma: 0,
  });
});

Deno.test("only a policy that needs answer times keeps them", () => {
  const { group, clock } = makeGroup(three(), { policy: "peak_ewma" });
  clock.advance(100);
  const a = group.find(A)!;
  group.begin(a);
  group.end(a, { kind: "answered", status: 200, latency: 12 });
  assert.equal(a.load.ewma, 12);
  assert.equal(a.load.ewmaAt, 100);
  assert.equal(group.members[0]!.ewma, 12);
});

Deno.test("an operator's weight and drain hold over updates and reloads until they are lifted", () => {
  const { group } = makeGroup(three());
  assert.equal(group.setEnabled(A, false), true);
  assert.equal(group.setWeight(B, 3), true);
  assert.deepEqual(served(group), [B, C]);
  group.update([endpoint(C)]);
  group.update(three());
  assert.deepEqual(served(group), [B, C]);
  const { group: next } = makeGroup(three(), { book: group.book });
  const backends = [B, C].map((id) => next.find(id)!);
  assert.deepEqual(tally(400, backends, () => next.select(input(), null)), [300, 100]);
  assert.deepEqual(
    next.members.map(({ state, weight, configuredWeight }) => [state, weight, configuredWeight]),
    [["drained", 1, 1], ["ready", 3, 1], ["ready", 1, 1]],
  );
  next.setWeight(B, null);
  next.setEnabled(A, true);
  assert.deepEqual(served(next), [A, B, C]);
  assert.equal(next.setWeight(D, 1), false);
  assert.equal(next.setEnabled(D, true), false);
  for (const bad of [-1, 1.5, NaN, 65_536]) {
    assert.throws(() => next.setWeight(A, bad), /expected a whole number from 0 to 65535, found/);
  }
  assert.equal(next.setWeight(A, 0), true);
  assert.deepEqual(served(next), [B, C]);
});

Deno.test("what an operator has set for a member that is gone is forgotten when it is lifted", () => {
  const { group } = makeGroup(three());
  group.setEnabled(C, false);
  group.update([endpoint(A)]);
  assert.equal(group.book.size, 2);
  group.setEnabled(C, true);
  assert.equal(group.book.size, 1);
});

Deno.test("hashing takes the key of the group, of the caller, or the client's address", () => {
  const endpoints = Array.from({ length: 10 }, (_, i) => endpoint(`10.0.1.${i}:80`));
  const { group } = makeGroup(endpoints, {
    policy: "ketama",
    hashKey: { kind: "header", name: "X-User" },
  });
  const user = (name: string) => input({ head: head("/", [["x-user", name]]) });
  const ann = served(group, 20, user("ann"));
  assert.equal(ann.length, 1);
  assert.equal(served(group, 20, { ...user("ann"), hashValue: "other" }).length, 1);
  const users = Array.from({ length: 50 }, (_, i) => served(group, 1, user(`u${i}`))[0]);
  assert.ok(new Set(users).size > 5);
  assert.deepEqual(served(group, 1, input({ hashValue: "ann" })), ann);
  // Without the field, turns.
  assert.equal(served(group, 20, input({ head: head() })).length, 10);

  const byAddress = makeGroup(endpoints, { policy: "hash" }).group;
  const from = (clientAddress: string) => input({ head: head(), clientAddress });
  const clients = Array.from({ length: 50 }, (_, i) => served(byAddress, 5, from(`10.9.0.${i}`)));
  assert.ok(clients.every(({ length }) => length === 1));
  assert.ok(new Set(clients.flat()).size > 5);
});

Deno.test("a panic threshold out of range is refused", () => {
  for (const panicThreshold of [-0.1, 1.1, NaN]) {
    assert.throws(
      () => makeGroup(three(), { panicThreshold }),
      /Cannot make upstream "pool": the panic threshold must be from 0 to 1/,
    );
  }
});
