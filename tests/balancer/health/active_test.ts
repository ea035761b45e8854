/** Active checks on a manual clock, with checks that the test itself ends. */
import { deepEqual, equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../../src/base/clock.ts";
import { ProxyError } from "../../../src/base/error.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import {
  ACTIVE_SETTINGS,
  ActiveHealth,
  type ActiveSettings,
} from "../../../src/balancer/health/active.ts";
import type { Run } from "../../../src/balancer/health/bounded_run.ts";
import type { CheckTarget, HealthCheck } from "../../../src/balancer/health/check.ts";
import { CheckSlots } from "../../../src/balancer/health/check_slots.ts";
import { createPeer } from "../../../src/connector/peer.ts";
import { parseAddress } from "../../../src/transport/address.ts";

const SETTINGS: ActiveSettings = { ...ACTIVE_SETTINGS, interval: 1_000, jitter: 0, timeout: 300 };

function target(id: string): CheckTarget {
  const address = parseAddress(id);
  if (typeof address === "string") throw new Error(address);
  return { id, peer: createPeer({ address }) };
}

const A = target("10.0.0.1:80");
const B = target("10.0.0.2:80");
const C = target("10.0.0.3:80");

/** Checks that wait until the test says how they end. */
class Checks implements HealthCheck {
  readonly open: { id: string; run: Run; end: (error: ProxyError | null) => void }[] = [];
  begun = 0;
  most = 0;
  closed = false;

  check({ id }: CheckTarget, run: Run): Promise<void> {
    this.begun++;
    return new Promise((resolve, reject) => {
      const one = {
        id,
        run,
        end: (error: ProxyError | null) => {
          this.open.splice(this.open.indexOf(one), 1);
          if (error === null) resolve();
          else reject(error);
        },
      };
      this.open.push(one);
      this.most = Math.max(this.most, this.open.length);
      run.signal.addEventListener("abort", () => one.end(run.signal.reason));
    });
  }

  close(): void {
    this.closed = true;
  }
}

class Bench {
  readonly clock = new ManualClock();
  readonly wheel = new TimerWheel({ clock: this.clock });
  readonly checks = new Checks();
  readonly told: string[] = [];
  readonly results: string[] = [];
  readonly slots: CheckSlots;
  readonly health: ActiveHealth;

  constructor(settings: Partial<ActiveSettings> = {}, limit = 64, random = () => 0.5) {
    this.slots = new CheckSlots(limit);
    this.health = new ActiveHealth({
      group: "api",
      settings: { ...SETTINGS, ...settings },
      check: this.checks,
      wheel: this.wheel,
      clock: this.clock,
      date: () => this.clock.now() + 1e12,
      slots: this.slots,
      random,
      onFlip: ({ id, healthy, reason, at }) =>
        this.told.push(`${id} ${healthy ? "up" : "down"} at ${at - 1e12}: ${reason}`),
      onResult: ({ id, error }) => this.results.push(`${id} ${error?.type ?? "ok"}`),
    });
  }

  /** Ends all checks that are open. */
  async end(ok: boolean): Promise<void> {
    for (const one of [...this.checks.open]) one.end(ok ? null : refused());
    await turn();
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 20) {
      this.clock.advance(Math.min(20, left));
      this.wheel.advance();
      await turn();
    }
  }

  /** Ends the check of one member and lets time go by until its next begins. */
  async round(ok: boolean): Promise<void> {
    await this.end(ok);
    for (let i = 0; i < 100 && this.checks.open.length === 0; i++) await this.pass(20);
    equal(this.checks.open.length, 1);
  }
}

function refused(): ProxyError {
  return new ProxyError("connect_refused", "Connecting: refused");
}

async function turn(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

Deno.test("a member is unhealthy after so many failures in a row, and healthy after so many passes", async () => {
  const bench = new Bench({ healthy: 2, unhealthy: 3 });
  bench.health.update([A]);
  for (const ok of [false, false, true, false, false]) await bench.round(ok);
  deepEqual(bench.told, []);
  await bench.end(false);
  deepEqual(bench.told, ["10.0.0.1:80 down at 5000: connect_refused: Connecting: refused"]);
  await bench.pass(1_000);
  for (const ok of [true, false, true]) await bench.round(ok);
  equal(bench.told.length, 1);
  await bench.end(true);
  equal(bench.told[1], "10.0.0.1:80 up at 9000: 2 checks passed");
  bench.health.stop();
});

Deno.test("health flips exactly as a count of results in a row says, whatever the results", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { maxLength: 40, size: "max" }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 4 }),
      async (results, healthy, unhealthy) => {
        const bench = new Bench({ healthy, unhealthy });
        bench.health.update([A]);
        let state = true;
        let flips = 0;
        for (let i = 0; i < results.length; i++) {
          await bench.round(results[i]!);
          const needed = state ? unhealthy : healthy;
          const last = results.slice(Math.max(0, i + 1 - needed), i + 1);
          if (last.length === needed && last.every((ok) => ok !== state)) {
            state = !state;
            flips++;
          }
          equal(bench.health.snapshot()[0]!.healthy, state);
          equal(bench.told.length, flips);
        }
        bench.health.stop();
        equal(bench.wheel.size, 0);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("a check that does not end in time fails with the error of its stage", async () => {
  const bench = new Bench({ unhealthy: 1 });
  bench.health.update([A]);
  await bench.pass(280);
  deepEqual(bench.results, []);
  bench.checks.open[0]!.run.timeoutType = "first_byte_timeout";
  await bench.pass(60);
  deepEqual(bench.results, ["10.0.0.1:80 first_byte_timeout"]);
  deepEqual(bench.told, [
    "10.0.0.1:80 down at 300: first_byte_timeout: Checking 10.0.0.1:80: not done within 300 ms",
  ]);
  equal(bench.checks.open.length, 0);
  bench.health.stop();
});

Deno.test("a check that ignores its signal is left behind, and what it says later does not count", async () => {
  const clock = new ManualClock();
  const wheel = new TimerWheel({ clock });
  const late: (() => void)[] = [];
  const results: string[] = [];
  const slots = new CheckSlots(1);
  const health = new ActiveHealth({
    group: "api",
    settings: { ...SETTINGS, unhealthy: 1 },
    check: { check: () => new Promise((resolve) => late.push(resolve)), close() {} },
    wheel,
    clock,
    slots,
    onFlip: ({ healthy }) => results.push(String(healthy)),
  });
  health.update([A]);
  clock.advance(400);
  wheel.advance();
  await turn();
  deepEqual(results, ["false"]);
  equal(slots.used, 0);
  late[0]!();
  await turn();
  deepEqual(results, ["false"]);
  health.stop();
});

Deno.test("intervals count from one beginning to the next and vary by the jitter", async () => {
  let chance = 0;
  const bench = new Bench({ jitter: 0.2 }, 64, () => chance);
  bench.health.update([A]);
  await bench.pass(200);
  await bench.end(true);
  await bench.pass(580);
  equal(bench.checks.begun, 1);
  await bench.pass(60);
  equal(bench.checks.begun, 2);
  chance = 1;
  await bench.end(true);
  await bench.pass(1_140);
  equal(bench.checks.begun, 2);
  await bench.pass(60);
  equal(bench.checks.begun, 3);
  bench.health.stop();
});

Deno.test("members that are initially unhealthy need one pass, and later as many as all", async () => {
  const bench = new Bench({ initial: "unhealthy", healthy: 2, unhealthy: 1 });
  bench.health.update([A]);
  equal(bench.health.snapshot()[0]!.healthy, false);
  await bench.round(false);
  await bench.round(true);
  equal(bench.told.length, 1);
  equal(bench.health.snapshot()[0]!.healthy, true);
  await bench.round(false);
  await bench.round(true);
  equal(bench.health.snapshot()[0]!.healthy, false);
  await bench.round(true);
  equal(bench.health.snapshot()[0]!.healthy, true);
  bench.health.stop();
});

Deno.test("added members are checked at once, removed ones no longer, the others keep what is known", async () => {
  const bench = new Bench({ unhealthy: 1 });
  bench.health.update([A, B]);
  await bench.end(false);
  deepEqual(bench.told.map((one) => one.slice(0, 16)), ["10.0.0.1:80 down", "10.0.0.2:80 down"]);
  deepEqual(bench.health.flips().map(({ id, healthy }) => [id, healthy]), [
    [A.id, false],
    [B.id, false],
  ]);
  bench.health.update([B, C]);
  deepEqual(bench.checks.open.map((one) => one.id), [C.id]);
  deepEqual(bench.health.snapshot().map(({ id, healthy }) => [id, healthy]), [
    [B.id, false],
    [C.id, true],
  ]);
  bench.health.update([B]);
  await turn();
  equal(bench.checks.open.length, 0);
  await bench.pass(1_040);
  deepEqual(bench.checks.open.map((one) => one.id), [B.id]);
  bench.health.stop();
});

Deno.test("what was known before a reload holds without a check", () => {
  const bench = new Bench({ initial: "healthy" });
  bench.health.update([A, B], new Map([[A.id, false]]));
  deepEqual(bench.health.snapshot().map((one) => one.healthy), [false, true]);
  bench.health.stop();
});

Deno.test("no more checks run at a time than there are slots, over all groups that share them", async () => {
  const bench = new Bench({}, 2);
  bench.health.update([A, B, C]);
  equal(bench.checks.open.length, 2);
  equal(bench.slots.waiting, 1);
  await bench.end(true);
  deepEqual(bench.checks.open.map((one) => one.id), [C.id]);
  await bench.end(true);
  await bench.pass(1_040);
  equal(bench.checks.most, 2);
  equal(bench.checks.begun, 5);
  bench.health.stop();
  await turn();
  equal(bench.slots.used, 0);
  equal(bench.slots.waiting, 0);
});

Deno.test("after stop nothing is checked, told or waited for", async () => {
  const bench = new Bench({ unhealthy: 1 }, 1);
  bench.health.update([A, B]);
  equal(bench.slots.waiting, 1);
  bench.health.stop();
  equal(bench.slots.waiting, 0);
  bench.health.update([C]);
  bench.health.refresh();
  await bench.pass(3_000);
  equal(bench.checks.begun, 1);
  deepEqual(bench.told, []);
  deepEqual(bench.results, []);
  equal(bench.wheel.size, 0);
  equal(bench.slots.used, 0);
  equal(bench.checks.closed, true);
});

Deno.test("a refresh checks now, but not what is being checked", async () => {
  const bench = new Bench();
  bench.health.update([A]);
  bench.health.refresh();
  equal(bench.checks.begun, 1);
  await bench.end(true);
  bench.health.refresh();
  equal(bench.checks.begun, 2);
  bench.health.stop();
});

Deno.test("settings that make no sense are refused by name", () => {
  const cases: [Partial<ActiveSettings>, RegExp][] = [
    [{ interval: 0 }, /`interval`/],
    [{ timeout: NaN }, /`timeout`/],
    [{ jitter: 1 }, /`jitter`/],
    [{ healthy: 0 }, /`healthy`/],
  ];
  for (const [settings, message] of cases) throws(() => new Bench(settings), message);
});
