import { equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { backoffBound, backoffDelay } from "../../src/connector/backoff.ts";

Deno.test("waits double up to the cap, and the lot decides within them", () => {
  const options = { base: 100, cap: 1_000 };
  equal(
    [0, 1, 2, 3, 4, 50].map((n) => backoffBound(n, options)).join(),
    "100,200,400,800,1000,1000",
  );
  equal(backoffDelay(2, { ...options, random: () => 0 }), 0);
  equal(backoffDelay(2, { ...options, random: () => 0.5 }), 200);
});

Deno.test("a wait is never negative, never over the cap, and its bound never shrinks", () => {
  fc.assert(fc.property(
    fc.nat(5_000),
    fc.double({ min: 0, max: 1e6, noNaN: true }),
    fc.double({ min: 0, max: 1e6, noNaN: true }),
    fc.double({ min: 1, max: 10, noNaN: true }),
    fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    (attempt, base, cap, factor, lot) => {
      const options = { base, cap, factor, random: () => lot };
      const delay = backoffDelay(attempt, options);
      ok(delay >= 0 && delay <= cap, `${delay}`);
      ok(backoffBound(attempt, options) <= backoffBound(attempt + 1, options));
    },
  ));
});

Deno.test("full jitter reaches all of the time", () => {
  let sum = 0;
  for (let i = 0; i < 10_000; i++) sum += backoffDelay(1, { base: 50 });
  ok(Math.abs(sum / 10_000 - 50) < 3, `${sum / 10_000}`);
});

Deno.test("options out of range are refused", () => {
  for (
    const bad of [{ base: -1 }, { cap: -1 }, { factor: 0.5 }, { base: NaN }, { cap: Infinity }]
  ) {
    throws(() => backoffDelay(0, bad), RangeError);
  }
});
