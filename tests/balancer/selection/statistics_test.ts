import assert from "node:assert/strict";
import type { Backend } from "../../../src/balancer/backend.ts";
import { decayedEwma, observeOutcome } from "../../../src/balancer/ewma.ts";
import { hashKey } from "../../../src/balancer/hash_key.ts";
import { Hash } from "../../../src/balancer/selection/hash.ts";
import { Ketama } from "../../../src/balancer/selection/ketama.ts";
import { LeastConnections } from "../../../src/balancer/selection/least_connections.ts";
import { PeakEwma } from "../../../src/balancer/selection/peak_ewma.ts";
import { PowerOfTwo } from "../../../src/balancer/selection/power_of_two.ts";
import { Random } from "../../../src/balancer/selection/random.ts";
import { RoundRobin } from "../../../src/balancer/selection/round_robin.ts";
import type { Candidates, Selection } from "../../../src/balancer/selection/selection.ts";
import { ManualClock } from "../../../src/base/clock.ts";
import {
  assertDrawn,
  assertShares,
  backend,
  candidates,
  from,
  head,
  seeded,
  selectionOptions,
  tally,
} from "../support.ts";

const PICKS = 100_000;
const WEIGHTS = [1, 2, 3, 4, 10];

function spread(selection: Selection, set: Candidates, key: (i: number) => string | null) {
  selection.update(set);
  return tally(PICKS, set.backends, (i) => selection.pick(key(i), null));
}

const none = () => null;

Deno.test("round robin is nginx's order, exact over each round", () => {
  const set = candidates([5, 1, 1]);
  const selection = new RoundRobin();
  selection.update(set);
  const order = Array.from({ length: 14 }, () => selection.pick(null, null)!.id[7]).join("");
  assert.equal(order, "11213111121311");
  const counts = spread(new RoundRobin(), candidates(WEIGHTS), none);
  assert.deepEqual(counts, WEIGHTS.map((weight) => weight * PICKS / 20));
});

Deno.test("round robin: an update between any two picks does not favour the first", () => {
  const selection = new RoundRobin();
  const backends = candidates([1, 1, 2]).backends;
  const counts = tally(4_000, backends, () => {
    selection.update(from(backends));
    return selection.pick(null, null);
  });
  assert.deepEqual(counts, [1000, 1000, 2000]);
});

Deno.test("round robin: after a large weight became small, nobody waits long", () => {
  const selection = new RoundRobin();
  const [a, b] = [backend("10.0.0.1:80", 60_000), backend("10.0.0.2:80", 50_000)];
  selection.update(from([a, b]));
  for (let i = 0; i < 7; i++) selection.pick(null, null);
  selection.update(from([backend(a.id, 1), backend(b.id, 1)]));
  const ids = Array.from({ length: 6 }, () => selection.pick(null, null)!.id);
  assert.equal(ids.filter((id) => id === a.id).length, 3);
});

Deno.test("random is spread by weight, also after failures", () => {
  const set = candidates(WEIGHTS);
  const selection = new Random(selectionOptions(11));
  assertDrawn(spread(selection, set, none), WEIGHTS);
  const tried = new Set([set.backends[4]!]);
  const others = set.backends.slice(0, 4);
  assertDrawn(tally(PICKS, others, () => selection.pick(null, tried)), [1, 2, 3, 4]);
});

Deno.test("random heeds shares of very different size", () => {
  const set = candidates([1, 1, 1000, 1000]);
  set.shares[2] = 0.5;
  assertDrawn(spread(new Random(selectionOptions(5)), set, none), [1, 1, 0.5, 1000]);
});

Deno.test("least connections without load takes turns by weight", () => {
  const counts = spread(new LeastConnections(), candidates(WEIGHTS), none);
  assert.deepEqual(counts, WEIGHTS.map((weight) => weight * PICKS / 20));
});

Deno.test("power of two without load is spread by weight", () => {
  assertDrawn(spread(new PowerOfTwo(selectionOptions(3)), candidates(WEIGHTS), none), WEIGHTS);
});

Deno.test("peak EWMA among equals is spread evenly", () => {
  const set = candidates([1, 1, 1, 1, 1]);
  for (const { load } of set.backends) load.ewma = 5;
  assertDrawn(spread(new PeakEwma(selectionOptions(9)), set, none), [1, 1, 1, 1, 1]);
});

Deno.test("hash is spread by weight, and a key stays where it is", () => {
  const set = candidates(WEIGHTS);
  const selection = new Hash();
  assertDrawn(spread(selection, set, (i) => `client-${i}`), WEIGHTS);
  assertDrawn(spread(selection, set, (i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`), WEIGHTS);
  for (let i = 0; i < 100; i++) {
    assert.equal(selection.pick(`k${i}`, null), selection.pick(`k${i}`, null));
  }
});

Deno.test("hash: when a member cannot be asked, only its keys move, spread over the others", () => {
  const set = candidates(WEIGHTS);
  const selection = new Hash();
  selection.update(set);
  const before = Array.from({ length: PICKS }, (_, i) => selection.pick(`k${i}`, null)!);
  set.shares[4] = 0;
  selection.refresh();
  const moved = before.flatMap((was, i) => {
    const now = selection.pick(`k${i}`, null)!;
    if (was !== set.backends[4]) assert.equal(now, was);
    return was === now ? [] : [now];
  });
  assertDrawn(tally(moved.length, set.backends.slice(0, 4), (i) => moved[i]!), [1, 2, 3, 4]);
});

Deno.test("hash and ketama: a member that starts slowly has its part of its keys, always the same", () => {
  for (const selection of [new Hash(), new Ketama()]) {
    const set = candidates([10, 10, 10]);
    selection.update(set);
    const before = Array.from({ length: PICKS }, (_, i) => selection.pick(`k${i}`, null)!);
    const own = (member: Backend, picks: readonly Backend[]) =>
      picks.filter((one) => one === member).length;
    const full = own(set.backends[1]!, before);
    let previous = new Set<number>();
    for (const factor of [0.1, 0.5, 0.9, 1]) {
      set.shares[1] = 10 * factor;
      selection.refresh();
      const after = before.map((_, i) => selection.pick(`k${i}`, null)!);
      // Its share of a total that has become smaller. Arcs of a ring differ in length, so only about that.
      const due = full * 3 * factor / (2 + factor);
      const count = own(set.backends[1]!, after);
      assert.ok(Math.abs(count - due) < full * 0.05, `${count} of ${full} at ${factor}`);
      const mine = new Set<number>();
      after.forEach((one, i) => {
        if (one === set.backends[1]) mine.add(i);
        else if (before[i] !== set.backends[1]) assert.equal(one, before[i]);
      });
      // It never loses a key on the way up.
      for (const i of previous) assert.ok(mine.has(i));
      previous = mine;
    }
    assert.equal(previous.size, full);
  }
});

Deno.test("ketama is spread by weight as well as its points allow, and moves few keys", () => {
  const set = candidates([10, 10, 10, 10, 10]);
  const selection = new Ketama();
  assertShares(spread(selection, set, (i) => `k${i}`), [1, 1, 1, 1, 1], 0.1);
  const before = Array.from({ length: PICKS }, (_, i) => selection.pick(`k${i}`, null)!);
  const gone = set.backends[2]!;
  // Whether it leaves the set or is only unusable, the same keys move to the same places.
  const left = new Ketama();
  left.update(from(set.backends.filter((one) => one !== gone)));
  set.shares[2] = 0;
  selection.refresh();
  let moved = 0;
  let different = 0;
  before.forEach((was, i) => {
    const now = selection.pick(`k${i}`, null)!;
    if (now !== left.pick(`k${i}`, null)) different++;
    if (now !== was) moved++;
    if (was !== gone) assert.equal(now, was);
  });
  assert.ok(moved / PICKS < 1 / 5 + 0.05, `${moved} of ${PICKS} moved`);
  assert.equal(moved, before.filter((was) => was === gone).length);
  assert.equal(different, 0);
});

Deno.test("ketama: unix sockets and weight 0 have their place, and weights too large are scaled", () => {
  const set = from([
    backend("unix:/run/a.sock", 100),
    backend("10.0.0.1:80", 0),
    backend("unix:/run/b.sock", 300),
  ]);
  assertShares(spread(new Ketama(), set, (i) => `k${i}`), [1, 0, 3], 0.05);
  const heavy = candidates([65_535, 65_535, 1]);
  const counts = spread(new Ketama(), heavy, (i) => `k${i}`);
  assertShares(counts.slice(0, 2), [1, 1], 0.03);
  assert.ok(counts[2]! < 100, `${counts[2]}`);
});

Deno.test("ketama: a member with hardly a point among very many gets everything when it is alone", () => {
  const set = candidates([65_535, 65_535, 1]);
  const selection = new Ketama();
  selection.update(set);
  set.shares[0] = set.shares[1] = 0;
  selection.refresh();
  for (let i = 0; i < 200; i++) assert.equal(selection.pick(`k${i}`, null), set.backends[2]);
});

Deno.test("requests without key take turns, exactly by weight", () => {
  for (const selection of [new Hash(), new Ketama()]) {
    const counts = spread(selection, candidates(WEIGHTS), none);
    assert.deepEqual(counts, WEIGHTS.map((weight) => weight * PICKS / 20));
  }
});

Deno.test("the address of the client is a key like any other", () => {
  const selection = new Hash();
  const set = candidates([1, 1, 1]);
  selection.update(set);
  const picks = tally(30_000, set.backends, (i) =>
    selection.pick(
      hashKey({ kind: "client_address" }, head(), `10.1.${i >> 8}.${i & 255}`),
      null,
    ));
  assertDrawn(picks, [1, 1, 1]);
});

/** Requests come at random and take random times; returns how many ran on each at most, and who served how many. */
function simulate(selection: Selection, set: Candidates, speed: readonly number[], seed: number) {
  const random = seeded(seed);
  const running: { one: Backend; until: number }[] = [];
  const most = set.backends.map(() => 0);
  const counts = set.backends.map(() => 0);
  selection.update(set);
  for (let now = 0; now < 20_000; now++) {
    for (let i = running.length - 1; i >= 0; i--) {
      if (running[i]!.until > now) continue;
      running[i]!.one.load.inFlight--;
      running.splice(i, 1);
    }
    const one = selection.pick(null, null)!;
    const index = set.backends.indexOf(one);
    one.load.inFlight++;
    counts[index]!++;
    most[index] = Math.max(most[index]!, one.load.inFlight);
    running.push({ one, until: now + 1 + Math.floor(random() * 2 * speed[index]!) });
  }
  return { most, counts };
}

Deno.test("least connections gives a slow member fewer requests, in proportion to its speed", () => {
  const { counts } = simulate(new LeastConnections(), candidates([1, 1, 1]), [100, 100, 400], 1);
  // All have equally many in flight, so the quick ones turn over four times as many.
  assertShares(counts, [4, 4, 1], 0.05);
});

Deno.test("least connections keeps requests in flight in proportion to the weights", () => {
  const { most, counts } = simulate(new LeastConnections(), candidates([1, 3]), [80, 80], 2);
  assertShares(counts, [1, 3], 0.05);
  assert.ok(Math.abs(most[1]! / most[0]! - 3) < 0.3, String(most));
});

Deno.test("power of two keeps the fullest member near the others, where random does not", () => {
  const weights = Array.from({ length: 20 }, () => 1);
  const times = weights.map(() => 200);
  const worst = (selection: Selection) =>
    Math.max(...simulate(selection, candidates(weights), times, 3).most);
  const drawn = worst(new Random(selectionOptions(4)));
  const two = worst(new PowerOfTwo(selectionOptions(4)));
  const least = worst(new LeastConnections());
  // About 10 are in flight on each.
  assert.ok(least <= two && two < drawn && drawn - two >= 5, `${least}, ${two}, ${drawn}`);
});

Deno.test("power of two keeps requests in flight in proportion to the weights", () => {
  const { counts } = simulate(
    new PowerOfTwo(selectionOptions(8)),
    candidates([1, 1, 2, 4]),
    [100, 100, 100, 100],
    5,
  );
  assertShares(counts, [1, 1, 2, 4], 0.05);
});

/** One request after the other on a manual clock; a backend takes as many milliseconds as `speed` says. */
function measured(seed: number) {
  const clock = new ManualClock();
  const set = candidates([1, 1, 1]);
  const selection = new PeakEwma({ clock, random: seeded(seed) });
  selection.update(set);
  const run = (times: number, speed: (i: number) => number) => {
    const counts = [0, 0, 0];
    for (let i = 0; i < times; i++) {
      const one = selection.pick(null, null)!;
      const index = set.backends.indexOf(one);
      counts[index]!++;
      one.load.inFlight++;
      clock.advance(speed(index));
      one.load.inFlight--;
      observeOutcome(
        one.load,
        { kind: "answered", status: 200, latency: speed(index) },
        clock.now(),
      );
    }
    return counts;
  };
  return { run, set, selection, clock };
}

Deno.test("peak EWMA prefers the quick, and forgives who has become quick again", () => {
  const { run, clock } = measured(6);
  const slow = run(2_000, (i) => i === 0 ? 500 : 10);
  assert.ok(slow[0]! < 60, `the slow one got ${slow[0]} of 2000`);
  assert.ok(slow[0]! > 0);
  // Two time constants per member; then it is as good as the others.
  clock.advance(60_000);
  run(6_000, () => 10);
  const [again] = run(3_000, () => 10);
  assert.ok(again! > 700, `it got ${again} of 3000 after it had recovered`);
});

Deno.test("peak EWMA tries a new member at once, and not with many requests before it has answered", () => {
  const { run, set, selection } = measured(2);
  run(100, () => 20);
  const fresh = backend("10.0.0.9:80");
  selection.update(from([...set.backends, fresh]));
  let picks = 0;
  while (selection.pick(null, null) !== fresh) assert.ok(++picks < 50);
  fresh.load.inFlight = 6;
  // While it works on six and nobody else on any, it is not asked.
  for (let i = 0; i < 200; i++) assert.notEqual(selection.pick(null, null), fresh);
});

Deno.test("peak EWMA: quick failures do not draw requests, and retries go to the cheapest", () => {
  const { set, selection, clock } = measured(3);
  const [a, b, c] = set.backends as [Backend, Backend, Backend];
  for (const one of [a, b]) {
    observeOutcome(one.load, { kind: "answered", status: 200, latency: 30 }, clock.now());
  }
  observeOutcome(c.load, { kind: "connect_failed", status: 0, latency: 1 }, clock.now());
  for (let i = 0; i < 200; i++) assert.notEqual(selection.pick(null, null), c);
  assert.equal(selection.pick(null, new Set([a])), b);
  assert.equal(selection.pick(null, new Set([a, b])), c);
});

Deno.test("the average takes a peak at once, comes down gradually, and fades while nothing is measured", () => {
  const { load } = backend("10.0.0.1:80");
  const answer = (latency: number, now: number, status = 200) =>
    observeOutcome(load, { kind: "answered", status, latency }, now);
  answer(10, 0);
  assert.equal(load.ewma, 10);
  answer(200, 100);
  assert.equal(load.ewma, 200);
  answer(10, 10_100);
  // One time constant: the old counts for 1/e.
  assert.ok(Math.abs(load.ewma - (200 / Math.E + 10 * (1 - 1 / Math.E))) < 1e-9);
  assert.ok(Math.abs(decayedEwma(load, 20_100) - load.ewma / Math.E) < 1e-9);
  const before = load.ewma;
  observeOutcome(load, { kind: "cancelled", status: 0, latency: 1 }, 10_100);
  assert.equal(load.ewma, before);
  observeOutcome(load, { kind: "cancelled", status: 0, latency: 700 }, 10_100);
  assert.equal(load.ewma, 700);
  answer(1, 10_100, 503);
  assert.equal(load.ewma, 1000);
  answer(NaN, 10_100);
  assert.ok(load.ewma > 0);
});
