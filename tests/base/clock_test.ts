import assert from "node:assert/strict";
import { ManualClock, systemClock } from "../../src/base/clock.ts";

/** Computes for a while, without a break. */
function spin(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

Deno.test("the process clock stands still while code runs without a break, and what follows at once", async () => {
  const first = systemClock.now();
  spin(2);
  assert.equal(systemClock.now(), first);
  await undefined;
  assert.equal(systemClock.now(), first);
  await undefined;
  const second = systemClock.now();
  assert.ok(second >= first + 2, `${second} after ${first}`);
  spin(2);
  await new Promise((resolve) => setTimeout(resolve, 0));
  const third = systemClock.now();
  assert.ok(third >= second + 2, `${third} after ${second}`);
  assert.ok(performance.now() - third < 1_000);
});

Deno.test("a manual clock moves only when told to", () => {
  const clock = new ManualClock();
  clock.advance(5);
  assert.equal(clock.now(), 5);
  assert.equal(clock.now(), 5);
});
