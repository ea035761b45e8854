import assert from "node:assert/strict";
import { compareWithBaseline } from "./baseline.ts";
import { cpuBetween } from "./cpu_time.ts";
import type { Row } from "./report.ts";
import { estimate, median } from "./statistics.ts";

Deno.test("a median is not led astray by one slice, and its interval holds it", () => {
  const values = [1.1, 1.2, 1.15, 9, 1.18, 1.12, 1.17];
  assert.equal(median(values), 1.17);
  const { median: middle, low, high } = estimate(values);
  assert.equal(middle, 1.17);
  assert.ok(low >= 1.1 && low <= middle && middle <= high);
});

Deno.test("equal values leave no doubt", () => {
  assert.deepEqual(estimate([2, 2, 2, 2, 2]), { median: 2, low: 2, high: 2 });
});

Deno.test("threads that end take nothing away, and new ones count from zero", () => {
  const before = new Map([["1", 100], ["2", 50]]);
  assert.equal(cpuBetween(before, new Map([["1", 130], ["3", 7]])), 37);
});

Deno.test("a ratio is worse only if all of its interval is over what is tolerated", () => {
  const baseline = {
    machine: { date: "", cpu: "", cores: 2, kernel: "", deno: "" },
    ratios: { small: 1 },
  };
  const row = (median: number, low: number, high: number): Row => ({
    scenario: "small",
    target: "sluice",
    cpu: 20,
    ratio: { median, low, high },
    perGigabyte: null,
    perSecond: 1,
    p50: null,
    p99: null,
    startup: 1,
  });
  assert.deepEqual(compareWithBaseline(baseline, [row(1.3, 1.1, 1.5)]), []);
  assert.equal(compareWithBaseline(baseline, [row(1.3, 1.2, 1.5)]).length, 1);
  assert.deepEqual(compareWithBaseline(baseline, [{ ...row(3, 3, 3), scenario: "unknown" }]), []);
});
