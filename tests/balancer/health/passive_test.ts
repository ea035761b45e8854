/** Outlier ejection on a manual clock. */
import { deepEqual, equal, match, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../../src/base/clock.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import type { Outcome } from "../../../src/balancer/backend.ts";
import { OutcomeWindow } from "../../../src/balancer/health/outcome_window.ts";
import {
  PASSIVE_SETTINGS,
  PassiveHealth,
  type PassiveSettings,
} from "../../../src/balancer/health/passive.ts";

const OK: Outcome = { kind: "answered", status: 200, latency: 5 };
const BUSY: Outcome = { kind: "answered", status: 503, latency: 5 };
const REFUSED: Outcome = { kind: "connect_failed", status: 0, latency: 1 };
const BROKEN: Outcome = { kind: "failed", status: 0, latency: 100 };
const CANCELLED: Outcome = { kind: "cancelled", status: 0, latency: 100 };

class Bench {
  readonly clock = new ManualClock();
  readonly wheel = new TimerWheel({ clock: this.clock });
  readonly told: string[] = [];
  readonly reasons: string[] = [];
  readonly passive: PassiveHealth;
  spare = true;

  constructor(settings: Partial<PassiveSettings> = {}, ids = ["a", "b", "c", "d"]) {
    this.passive = new PassiveHealth({
      settings: {
        ...PASSIVE_SETTINGS,
        failures: 3,
        ejection: 1_000,
        maxEjection: 3_000,
        ...settings,
      },
      wheel: this.wheel,
      clock: this.clock,
      mayEject: () => this.spare,
      onEject: (id, reason, duration) => {
        this.told.push(`${id} out ${duration}`);
        this.reasons.push(reason);
      },
      onReturn: (id, reason) => {
        this.told.push(`${id} back`);
        this.reasons.push(reason);
      },
    });
    this.passive.update(ids);
  }

  record(id: string, outcome: Outcome, times = 1): void {
    for (let i = 0; i < times; i++) this.passive.record(id, outcome);
  }

  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 20) {
      this.clock.advance(Math.min(20, left));
      this.wheel.advance();
    }
  }
}

Deno.test("failures in a row eject, of whatever kind they are; an answer or a client that left does not", () => {
  const bench = new Bench();
  for (const outcome of [BUSY, REFUSED, OK, BROKEN, CANCELLED, BUSY]) bench.record("a", outcome);
  deepEqual(bench.told, []);
  bench.record("a", REFUSED);
  deepEqual(bench.told, ["a out 1000"]);
  equal(bench.reasons[0], "3 failures in a row, the last: no connection");
  equal(bench.passive.isEjected("a"), true);
  equal(bench.passive.isEjected("b"), false);
});

Deno.test("only the listed statuses are failures", () => {
  const bench = new Bench({ statuses: [{ from: 429, to: 429 }] });
  bench.record("a", BUSY, 10);
  deepEqual(bench.told, []);
  bench.record("a", { ...BUSY, status: 429 }, 3);
  deepEqual(bench.told, ["a out 1000"]);
  equal(bench.reasons[0], "3 failures in a row, the last: status 429");
});

Deno.test("an ejection ends on time, takes longer each time up to a limit, and is forgiven in time", () => {
  const bench = new Bench();
  const eject = () => bench.record("a", BROKEN, 3);
  eject();
  bench.pass(980);
  equal(bench.passive.state("a")!.ejectedFor, 20);
  equal(bench.passive.isEjected("a"), true);
  bench.pass(40);
  equal(bench.passive.isEjected("a"), false);
  for (const duration of [2_000, 3_000, 3_000]) {
    eject();
    bench.pass(duration + 40);
  }
  deepEqual(bench.told, [
    ...["a out 1000", "a back", "a out 2000", "a back"],
    ...["a out 3000", "a back", "a out 3000", "a back"],
  ]);
  bench.pass(2_500);
  eject();
  equal(bench.passive.state("a")!.ejections, 3);
  bench.pass(60_000);
  eject();
  equal(bench.passive.state("a")!.ejections, 1);
  equal(bench.told.at(-1), "a out 1000");
});

Deno.test("what comes in while a member is ejected neither prolongs nor repeats the ejection", () => {
  const bench = new Bench();
  bench.record("a", BROKEN, 50);
  deepEqual(bench.told, ["a out 1000"]);
  bench.pass(1_020);
  bench.record("a", BROKEN, 2);
  deepEqual(bench.told, ["a out 1000", "a back"]);
});

Deno.test("an error ratio ejects from a minimum of requests on, within the window", () => {
  const bench = new Bench({ failures: 0, errors: { ratio: 0.5, minimum: 10 }, window: 10_000 });
  for (let i = 0; i < 4; i++) {
    bench.record("a", OK);
    bench.record("a", BUSY);
  }
  deepEqual(bench.told, []);
  // They leave the window before the minimum is reached.
  bench.pass(11_000);
  for (let i = 0; i < 4; i++) {
    bench.record("a", OK);
    bench.record("a", BUSY);
  }
  deepEqual(bench.told, []);
  bench.record("a", OK);
  bench.record("a", BUSY);
  deepEqual(bench.told, ["a out 1000"]);
  equal(bench.reasons[0], "5 of 10 requests failed, the last: status 503");
  for (let i = 0; i < 30; i++) bench.record("b", i % 3 === 2 ? BUSY : OK);
  deepEqual(bench.told, ["a out 1000"]);
});

Deno.test("answers that take a multiple of the median eject, from a minimum and a floor on", () => {
  const bench = new Bench({
    latency: { factor: 3, minimum: 20, floor: 50 },
    window: 10_000,
  });
  const answer = (id: string, latency: number, times: number) =>
    bench.record(id, { ...OK, latency }, times);
  for (const id of ["a", "b", "c"]) answer(id, 1, 30);
  answer("d", 40, 30);
  bench.pass(1_020);
  answer("a", 1, 1);
  deepEqual(bench.told, []);
  // Now over the floor; but too few answers count for it.
  bench.pass(11_000);
  for (const id of ["a", "b", "c"]) answer(id, 20, 30);
  answer("d", 500, 19);
  bench.pass(1_020);
  answer("a", 20, 1);
  deepEqual(bench.told, []);
  answer("d", 500, 1);
  bench.pass(1_020);
  answer("a", 20, 1);
  deepEqual(bench.told, ["d out 1000"]);
  match(bench.reasons[0]!, /^answers take 500\.0 ms, those of the group 20\.0 ms$/);
});

Deno.test("of two members the slow one is the outlier", () => {
  const bench = new Bench({ latency: { factor: 3, minimum: 5, floor: 0 } }, ["a", "b"]);
  bench.record("a", { ...OK, latency: 100 }, 10);
  bench.record("b", { ...OK, latency: 1 }, 10);
  bench.pass(3_020);
  bench.record("b", { ...OK, latency: 1 });
  deepEqual(bench.told, ["a out 1000"]);
});

Deno.test("a group that is slow as a whole has no outlier", () => {
  const bench = new Bench({ latency: { factor: 2, minimum: 5, floor: 0 } });
  for (let round = 0; round < 10; round++) {
    for (const id of ["a", "b", "c", "d"]) bench.record(id, { ...OK, latency: 1_000 + round }, 10);
    bench.pass(1_000);
  }
  deepEqual(bench.told, []);
});

Deno.test("no more than the share is ejected, and nobody who cannot be spared", () => {
  const bench = new Bench({ maxEjected: 0.5 });
  for (const id of ["a", "b", "c", "d"]) bench.record(id, REFUSED, 20);
  deepEqual(bench.told, ["a out 1000", "b out 1000"]);
  const alone = new Bench({ maxEjected: 1 }, ["a"]);
  alone.record("a", REFUSED, 20);
  deepEqual(alone.told, []);
  const needed = new Bench({ maxEjected: 1 });
  needed.spare = false;
  needed.record("a", REFUSED, 20);
  deepEqual(needed.told, []);
});

Deno.test("when members leave, as many return as the share asks for, the longest ejected first", () => {
  const bench = new Bench({ maxEjected: 0.5 }, ["a", "b", "c", "d"]);
  bench.record("b", REFUSED, 3);
  bench.pass(100);
  bench.record("a", REFUSED, 3);
  bench.passive.update(["a", "b"]);
  deepEqual(bench.told, ["b out 1000", "a out 1000", "b back"]);
  bench.passive.update(["a"]);
  deepEqual(bench.told.slice(3), ["a back"]);
  equal(bench.wheel.size, 0);
});

Deno.test("never more than the share is ejected, one always stays, and every ejection ends", () => {
  const ids = Array.from({ length: 12 }, (_, i) => `m${i}`);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("fail" as const), fc.nat(11)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("pass" as const), fc.nat(800)) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.constant("size" as const), fc.integer({ min: 0, max: 12 })),
    },
    { weight: 1, arbitrary: fc.tuple(fc.constant("slow" as const), fc.nat(11)) },
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200, size: "max" }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (steps, maxEjected) => {
        const bench = new Bench({
          failures: 1,
          maxEjected,
          latency: { factor: 2, minimum: 1, floor: 0 },
          window: 1_000,
        }, ids);
        const { passive } = bench;
        let members = ids;
        for (const [what, value] of steps) {
          if (what === "fail") passive.record(ids[value]!, REFUSED);
          else if (what === "slow") passive.record(ids[value]!, { ...OK, latency: value * 100 });
          else if (what === "pass") bench.pass(value);
          else passive.update(members = ids.slice(0, value));
          const out = members.filter((id) => passive.isEjected(id)).length;
          equal(out, passive.ejected);
          ok(out <= Math.floor(maxEjected * members.length + 1e-9), `${out} of ${members.length}`);
          ok(members.length === 0 || out < members.length);
        }
        bench.pass(3_100);
        equal(passive.ejected, 0);
        equal(bench.wheel.size, 0);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("a window counts what an exact list would, to within a tenth of its length", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(400), fc.boolean(), fc.integer({ min: -1, max: 50 })), {
        maxLength: 200,
        size: "max",
      }),
      (steps) => {
        const window = new OutcomeWindow(1_000);
        const all: { at: number; failed: boolean; latency: number }[] = [];
        let now = 0;
        for (const [pause, failed, latency] of steps) {
          now += pause;
          window.add(now, failed, latency);
          all.push({ at: now, failed, latency });
          const from = (Math.floor(now / 100) - 9) * 100;
          const kept = all.filter((one) => one.at >= from);
          equal(window.requests, kept.length);
          equal(window.failures, kept.filter((one) => one.failed).length);
          const answers = kept.filter((one) => one.latency >= 0);
          equal(window.answers, answers.length);
          const sum = answers.reduce((total, one) => total + one.latency, 0);
          ok(Math.abs(window.latency - (answers.length === 0 ? 0 : sum / answers.length)) < 1e-6);
        }
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("settings that make no sense are refused by name", () => {
  const cases: [Partial<PassiveSettings>, RegExp][] = [
    [{ failures: -1 }, /`failures`/],
    [{ window: 0 }, /`window`/],
    [{ errors: { ratio: 0, minimum: 1 } }, /`errors`/],
    [{ latency: { factor: 1, minimum: 1, floor: 0 } }, /`latency`/],
    [{ ejection: 10, maxEjection: 5 }, /`ejection`/],
    [{ maxEjected: 1.1 }, /`maxEjected`/],
  ];
  for (const [settings, message] of cases) throws(() => new Bench(settings), message);
});

Deno.test("an ejection of another thread goes on for what is left of it, and is told by nobody", () => {
  const before = new Bench();
  before.record("a", REFUSED, 3);
  before.pass(400);
  const [ejection, ...more] = before.passive.ejections;
  deepEqual([ejection, more], [{ id: "a", left: 600, ejections: 1 }, []]);
  const bench = new Bench();
  equal(bench.passive.resume(ejection!), true);
  equal(bench.passive.resume(ejection!), false, "it is ejected already");
  deepEqual([bench.passive.isEjected("a"), bench.told], [true, []]);
  bench.pass(580);
  equal(bench.passive.isEjected("a"), true);
  bench.pass(40);
  deepEqual(bench.told, ["a back"]);
  // The next one is the second.
  bench.record("a", REFUSED, 3);
  deepEqual(bench.told, ["a back", "a out 2000"]);
});

Deno.test("an ejection of another thread is left alone when it is over, too much, or of somebody unknown", () => {
  const bench = new Bench({ maxEjected: 0.5 });
  const of = (id: string, left = 500) => ({ id, left, ejections: 1 });
  equal(bench.passive.resume(of("a", 0)), false);
  equal(bench.passive.resume(of("a", -5)), false);
  equal(bench.passive.resume(of("a", NaN)), false);
  equal(bench.passive.resume(of("stranger")), false);
  bench.spare = false;
  equal(bench.passive.resume(of("a")), false);
  bench.spare = true;
  deepEqual(["a", "b", "c"].map((id) => bench.passive.resume(of(id))), [true, true, false]);
  equal(bench.passive.ejected, 2);
  // Never longer than one may be here.
  const long = new Bench();
  long.passive.resume(of("a", 1e9));
  equal(long.passive.state("a")!.ejectedFor, 3_000);
});
