import { equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../src/base/clock.ts";
import { RetryBudget } from "../../src/connector/retry_budget.ts";
import { SlidingCounts } from "../../src/connector/sliding_counts.ts";

Deno.test("a share of the requests may be tried again, and a few in any case", () => {
  const clock = new ManualClock();
  const budget = new RetryBudget({ ratio: 0.1, minPerSecond: 1, window: 10_000, clock });
  equal(budget.left, 10);
  for (let i = 0; i < 100; i++) budget.request();
  equal(budget.left, 20);
  let made = 0;
  for (let i = 0; i < 50; i++) if (budget.retry()) made++;
  equal(made, 20);
  equal(budget.refused, 30);
  clock.advance(10_000);
  equal(budget.left, 10, "the window is over");
});

Deno.test("with ratio 0 and no minimum nothing is tried again", () => {
  const budget = new RetryBudget({ ratio: 0, minPerSecond: 0, clock: new ManualClock() });
  for (let i = 0; i < 1_000; i++) budget.request();
  equal(budget.retry(), false);
});

Deno.test("ratios that binary fractions cannot say come out whole", () => {
  for (const [ratio, requests, left] of [[0.29, 100, 29], [0.1, 30, 3], [0.7, 10, 7]] as const) {
    const budget = new RetryBudget({ ratio, minPerSecond: 0, clock: new ManualClock() });
    for (let i = 0; i < requests; i++) budget.request();
    equal(budget.left, left);
  }
});

Deno.test("never more retries in a window than the budget of that window", () => {
  fc.assert(fc.property(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.integer({ min: 0, max: 5 }),
    fc.array(fc.tuple(fc.constantFrom("request", "retry", "pass"), fc.nat(900)), {
      maxLength: 300,
    }),
    (ratio, minPerSecond, steps) => {
      const clock = new ManualClock();
      const window = 1_000;
      const budget = new RetryBudget({ ratio, minPerSecond, window, clock });
      const requests: number[] = [];
      const retries: number[] = [];
      for (const [step, ms] of steps) {
        if (step === "pass") clock.advance(ms);
        else if (step === "request") {
          budget.request();
          requests.push(clock.now());
        }
        // What was granted stays right when the requests that it was granted for have left the window.
        if (step !== "retry" || !budget.retry()) continue;
        retries.push(clock.now());
        const since = (times: number[], ms: number) =>
          times.filter((at) => at > clock.now() - ms).length;
        // What has left the window in slices is younger than the window; so compare its inner part with all of it.
        const allowed = minPerSecond * window / 1000 + ratio * since(requests, window + 1) + 1e-6;
        ok(since(retries, window * 0.9) <= allowed);
      }
    },
  ));
});

Deno.test("a sliding window counts what a list of times counts, to a tenth of the window", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.boolean(), fc.nat(400)), { maxLength: 200 }),
    (steps) => {
      const clock = new ManualClock();
      const counts = new SlidingCounts(1_000, clock);
      const times: number[] = [];
      for (const [add, ms] of steps) {
        clock.advance(ms);
        if (add) {
          counts.addFirst();
          times.push(clock.now());
        }
        const now = clock.now();
        const atMost = times.filter((at) => at > now - 1_000).length;
        const atLeast = times.filter((at) => at > now - 900).length;
        ok(counts.first <= atMost && counts.first >= atLeast, `${counts.first}`);
        equal(counts.second, 0);
      }
    },
  ));
});

Deno.test("options out of range are refused", () => {
  throws(() => new RetryBudget({ ratio: -1 }), RangeError);
  throws(() => new RetryBudget({ minPerSecond: NaN }), RangeError);
  throws(() => new RetryBudget({ window: 0 }), RangeError);
});
