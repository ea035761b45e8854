/** Active flips, ejections, operators and slow start together, on a manual clock. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../../src/base/clock.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import type { Outcome } from "../../../src/balancer/backend.ts";
import { PASSIVE_SETTINGS } from "../../../src/balancer/health/passive.ts";
import { SLOW_START, slowStartFactor } from "../../../src/balancer/health/slow_start.ts";
import {
  GroupHealth,
  type GroupHealthOptions,
  type HealthMember,
} from "../../../src/balancer/health/view.ts";

const REFUSED: Outcome = { kind: "connect_failed", status: 0, latency: 1 };
const PASSIVE = {
  ...PASSIVE_SETTINGS,
  failures: 1,
  ejection: 1_000,
  maxEjection: 1_000,
  maxEjected: 1,
};

const member = (id: string, weight = 1): HealthMember => ({ id, endpoint: { weight } });
const members = (ids: string) => [...ids].map((id) => member(id));

class Bench {
  readonly clock = new ManualClock();
  readonly wheel = new TimerWheel({ clock: this.clock });
  readonly told: string[] = [];
  readonly view: GroupHealth;
  changes = 0;

  constructor(options: Partial<GroupHealthOptions> = {}, ids = "abc") {
    this.view = new GroupHealth({
      group: "api",
      wheel: this.wheel,
      clock: this.clock,
      date: () => this.clock.now(),
      onEvent: ({ kind, id, reason }) => this.told.push(`${id} ${kind}: ${reason}`),
      ...options,
    });
    this.view.onChange = () => this.changes++;
    this.view.update(members(ids));
    this.changes = 0;
  }

  usable(ids = "abc"): string {
    return [...ids].filter((id) => this.view.usable({ id })).join("");
  }

  flip(id: string, healthy: boolean): void {
    this.view.applyFlip({ id, healthy, reason: "because" });
  }

  fail(id: string): void {
    this.view.record({ id }, REFUSED);
  }

  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 20) {
      this.clock.advance(Math.min(20, left));
      this.wheel.advance();
    }
  }
}

Deno.test("a flip makes a member unusable and usable again, and is told once", () => {
  const bench = new Bench();
  equal(bench.usable(), "abc");
  bench.flip("b", false);
  bench.flip("b", false);
  equal(bench.usable(), "ac");
  bench.flip("b", true);
  equal(bench.usable(), "abc");
  deepEqual(bench.told, ["b unhealthy: because", "b healthy: because"]);
  equal(bench.changes, 2);
  bench.flip("nobody", false);
  equal(bench.view.usable({ id: "nobody" }), true);
  equal(bench.changes, 2);
});

Deno.test("members are unusable from the beginning where nothing is believed unchecked", () => {
  const bench = new Bench({ initial: "unhealthy" });
  equal(bench.usable(), "");
  bench.flip("a", true);
  equal(bench.usable(), "a");
});

Deno.test("an ejected member comes back after its time, or when active checks pass", () => {
  const bench = new Bench({ passive: PASSIVE });
  bench.fail("a");
  equal(bench.usable(), "bc");
  bench.pass(1_020);
  equal(bench.usable(), "abc");
  bench.fail("b");
  bench.flip("b", false);
  bench.flip("b", true);
  equal(bench.usable(), "abc");
  deepEqual(bench.told.map((one) => one.split(":")[0]), [
    ...["a ejected", "a returned", "b ejected", "b unhealthy", "b returned", "b healthy"],
  ]);
  equal(bench.wheel.size, 0);
});

Deno.test("who is unhealthy, drained or without weight does not count as one who stays", () => {
  const bench = new Bench({ passive: PASSIVE });
  bench.flip("b", false);
  bench.view.setAdmin("c", "drained");
  bench.fail("a");
  equal(bench.usable(), "a");
  const weights = new Bench({ passive: PASSIVE });
  weights.view.update([member("a"), member("b", 0)]);
  weights.fail("a");
  equal(weights.usable("ab"), "ab");
  // Not even for a moment.
  ok(![...bench.told, ...weights.told].some((one) => one.includes("ejected")));
});

Deno.test("when the last usable member fails its checks, an ejected one returns", () => {
  for (const how of ["flip", "drain", "leave"] as const) {
    const bench = new Bench({ passive: PASSIVE });
    bench.fail("a");
    bench.pass(100);
    bench.fail("b");
    equal(bench.usable(), "c");
    if (how === "flip") bench.flip("c", false);
    else if (how === "drain") bench.view.setAdmin("c", "drained");
    else bench.view.update(members("ab"));
    equal(bench.usable("ab"), "a", how);
    ok(bench.told.some((one) => one.startsWith("a returned")), bench.told.join());
  }
});

Deno.test("a drained member stays drained when it leaves and comes back", () => {
  const bench = new Bench();
  equal(bench.view.setAdmin("b", "drained"), true);
  equal(bench.view.setAdmin("nobody", "drained"), false);
  bench.view.update(members("ac"));
  bench.view.update(members("abc"));
  equal(bench.usable(), "ac");
  equal(bench.view.snapshot().find((one) => one.id === "b")!.admin, "drained");
  bench.view.setAdmin("b", "enabled");
  equal(bench.usable(), "abc");
  bench.view.update(members("ac"));
  bench.view.update(members("abc"));
  equal(bench.usable(), "abc");
  deepEqual(bench.told, ["b drained: by an operator", "b enabled: by an operator"]);
});

Deno.test("members that come into service start slowly, the first set does not", () => {
  const bench = new Bench({ passive: PASSIVE, slowStart: { ...SLOW_START, window: 10_000 } });
  const factor = (id: string) => Math.round(bench.view.weightFactor({ id }) * 100);
  deepEqual(["a", "b", "c"].map(factor), [100, 100, 100]);
  bench.view.update(members("abcd"));
  bench.flip("a", false);
  bench.flip("a", true);
  bench.fail("b");
  bench.pass(1_020);
  deepEqual(["a", "b", "c", "d"].map(factor), [10, 10, 100, 10]);
  const before = bench.changes;
  bench.pass(4_000);
  deepEqual(["a", "b", "c", "d"].map(factor), [50, 40, 100, 50]);
  ok(bench.changes >= before + 7, `told ${bench.changes - before} times`);
  bench.pass(6_500);
  deepEqual(["a", "b", "c", "d"].map(factor), [100, 100, 100, 100]);
  equal(bench.wheel.size, 0);
});

Deno.test("slow start grows from the minimum to the whole, never back, evenly with an aggression of 1", () => {
  equal(slowStartFactor(-5, SLOW_START), 0.1);
  equal(slowStartFactor(15_000, SLOW_START), 0.5);
  equal(slowStartFactor(30_000, SLOW_START), 1);
  fc.assert(
    fc.property(
      fc.nat(40_000),
      fc.nat(40_000),
      fc.double({ min: 0.1, max: 10, noNaN: true }),
      (a, b, aggression) => {
        const settings = { ...SLOW_START, aggression };
        const [less, more] = [Math.min(a, b), Math.max(a, b)].map((at) =>
          slowStartFactor(at, settings)
        );
        ok(less! >= 0.1 && less! <= more! && more! <= 1);
      },
    ),
  );
  throws(() => new Bench({ slowStart: { ...SLOW_START, minimum: 0 } }), /Slow start/);
});

Deno.test("whatever happens, ejection alone never leaves a group without a usable member", () => {
  const step = fc.record({
    what: fc.constantFrom("fail", "fail", "fail", "down", "up", "drain", "enable", "pass", "set"),
    id: fc.constantFrom(..."abcdef"),
    value: fc.nat(600),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
      const bench = new Bench({ passive: PASSIVE, slowStart: SLOW_START }, "abcdef");
      const { view } = bench;
      for (const { what, id, value } of steps) {
        if (what === "fail") bench.fail(id);
        else if (what === "down" || what === "up") bench.flip(id, what === "up");
        else if (what === "drain") view.setAdmin(id, "drained");
        else if (what === "enable") view.setAdmin(id, "enabled");
        else if (what === "pass") bench.pass(value);
        else view.update(members([..."abcdef"].slice(0, value % 7).join("")));
        const all = view.snapshot();
        const works = all.filter((one) => one.healthy && one.admin === "enabled");
        const usable = all.filter((one) => one.usable);
        ok(works.length === 0 || usable.length > 0, `${what} ${id}: nobody is left`);
        for (const one of all) {
          equal(one.usable, view.usable(one));
          const ejected = one.passive!.ejectedFor > 0;
          equal(one.usable, one.healthy && one.admin === "enabled" && !ejected);
          ok(one.weightFactor > 0 && one.weightFactor <= 1);
        }
      }
      view.stop();
      equal(bench.wheel.size, 0);
    }),
    { numRuns: 200 },
  );
});

Deno.test("each change that a group has to know is told after it has taken place", () => {
  const bench = new Bench({ passive: PASSIVE });
  const seen: string[] = [];
  bench.view.onChange = () => seen.push(bench.usable());
  bench.fail("a");
  bench.fail("b");
  bench.flip("c", false);
  bench.pass(1_020);
  deepEqual(seen, ["bc", "c", "a", "ab"]);
});

Deno.test("ejections of another thread go on as far as the last usable member is left, told once and to no plugin", () => {
  const bench = new Bench({ passive: PASSIVE });
  bench.flip("a", false);
  bench.changes = 0;
  const told = bench.told.length;
  const of = (id: string) => ({ id, left: 500, ejections: 1 });
  equal(bench.view.resumeEjections([of("a"), of("b"), of("c")]), 1);
  deepEqual([bench.usable(), bench.changes, bench.told.length], ["c", 1, told]);
  deepEqual(bench.view.ejections, [of("b")]);
  bench.pass(520);
  deepEqual([bench.usable(), bench.view.ejections], ["bc", []]);
  equal(bench.told.at(-1), "b returned: the time of its ejection is over");
  equal(new Bench().view.resumeEjections([of("a")]), 0, "nobody is ejected here");
});
