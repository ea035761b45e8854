import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../src/base/clock.ts";
import {
  Breaker,
  type BreakerLimits,
  type BreakerOutcome,
  type BreakerState,
} from "../../src/connector/breaker.ts";

Deno.test("failures in a row open it, a success in between does not let them add up", () => {
  const { breaker } = make({ consecutiveFailures: 3, errorRatio: 0 });
  run(breaker, "failure", "failure", "success", "failure", "failure");
  equal(breaker.state, "closed");
  run(breaker, "failure");
  equal(breaker.state, "open");
  equal(breaker.enter(), "open");
  equal(breaker.stats().refusedOpen, 1);
});

Deno.test("a share of failures opens it, but not of too few outcomes", () => {
  const { breaker } = make({ errorRatio: 0.5, minVolume: 10 });
  run(breaker, ...Array(9).fill("failure"));
  equal(breaker.state, "closed");
  run(breaker, "success");
  equal(breaker.state, "closed", "a success opens nothing");
  run(breaker, "failure");
  equal(breaker.state, "open");
});

Deno.test("what has left the window does not count", () => {
  const { breaker, clock } = make({ errorRatio: 0.5, minVolume: 10, window: 1_000 });
  run(breaker, ...Array(9).fill("failure"));
  clock.advance(1_000);
  run(breaker, "failure");
  equal(breaker.state, "closed");
});

Deno.test("what was cancelled says nothing", () => {
  const { breaker } = make({ consecutiveFailures: 2, errorRatio: 0.1, minVolume: 1 });
  run(breaker, ...Array(50).fill("cancelled"));
  equal(breaker.state, "closed");
});

Deno.test("after its time it lets one probe in, which closes it or opens it for twice as long", () => {
  const { breaker, clock, changes } = make({
    consecutiveFailures: 1,
    openTime: 1_000,
    maxOpenTime: 3_000,
  });
  run(breaker, "failure");
  equal(breaker.retryAfter, 1_000);
  clock.advance(999);
  equal(breaker.admits, false);
  for (const time of [2_000, 3_000, 3_000]) {
    clock.advance(breaker.retryAfter);
    const probe = breaker.enter();
    equal(breaker.state, "half_open");
    equal(breaker.enter(), "open");
    breaker.exit(probe as number, "failure");
    equal(breaker.state, "open");
    equal(breaker.retryAfter, time);
  }
  clock.advance(3_000);
  run(breaker, "success");
  equal(breaker.state, "closed");
  equal(breaker.retryAfter, 0);
  run(breaker, "failure");
  equal(breaker.retryAfter, 1_000, "it begins anew");
  deepEqual(changes.slice(0, 4), ["open", "half_open", "open", "half_open"]);
});

Deno.test("several probes: all must succeed, and a cancelled one is replaced", () => {
  const { breaker, clock } = make({ consecutiveFailures: 1, halfOpenProbes: 2 });
  run(breaker, "failure");
  clock.advance(breaker.retryAfter);
  const [one, two] = [breaker.enter() as number, breaker.enter() as number];
  equal(breaker.enter(), "open");
  breaker.exit(one, "success");
  equal(breaker.enter(), "open", "the second is still on its way");
  breaker.exit(two, "cancelled");
  equal(breaker.state, "half_open");
  run(breaker, "success");
  equal(breaker.state, "closed");
});

Deno.test("what was let in before a change of state says nothing about the state after it", () => {
  const { breaker, clock } = make({ consecutiveFailures: 1 });
  const old = [1, 2, 3].map(() => breaker.enter() as number);
  run(breaker, "failure");
  clock.advance(breaker.retryAfter);
  const probe = breaker.enter() as number;
  breaker.exit(old[0]!, "success");
  equal(breaker.state, "half_open");
  breaker.exit(old[1]!, "failure");
  equal(breaker.state, "half_open");
  breaker.exit(probe, "success");
  equal(breaker.state, "closed");
  breaker.exit(old[2]!, "failure");
  equal(breaker.state, "closed");
  equal(breaker.stats().active, 0);
});

Deno.test("more than maxRequests at a time are refused, more than maxPending too", () => {
  const { breaker } = make({ maxRequests: 2, maxPending: 1 });
  const tickets = [breaker.enter(), breaker.enter()];
  equal(breaker.enter(), "max_requests");
  breaker.exit(tickets[0] as number, "success");
  equal(typeof breaker.enter(), "number");
  equal(breaker.enterPending(), true);
  equal(breaker.enterPending(), false);
  breaker.leavePending();
  equal(breaker.enterPending(), true);
  const { refusedRequests, refusedPending } = breaker.stats();
  equal(`${refusedRequests} ${refusedPending}`, "1 1");
});

Deno.test("an operator can close it", () => {
  const { breaker } = make({ consecutiveFailures: 1 });
  run(breaker, "failure");
  breaker.reset();
  equal(breaker.state, "closed");
  equal(typeof breaker.enter(), "number");
});

Deno.test("limits out of range are refused", () => {
  for (
    const bad of [
      { maxRequests: -1 },
      { errorRatio: 1.1 },
      { halfOpenProbes: 0 },
      { window: 0 },
      { openTime: 2, maxOpenTime: 1 },
      { openTime: NaN },
    ]
  ) throws(() => new Breaker(bad), RangeError);
});

Deno.test("whatever happens: never over its limits, never open without an end, counts come to zero", () => {
  fc.assert(fc.property(
    fc.record({
      maxRequests: fc.nat(5),
      consecutiveFailures: fc.nat(4),
      errorRatio: fc.double({ min: 0, max: 1, noNaN: true }),
      minVolume: fc.nat(10),
      halfOpenProbes: fc.integer({ min: 1, max: 3 }),
    }),
    fc.array(
      fc.tuple(fc.constantFrom("enter", "success", "failure", "cancelled", "pass"), fc.nat(2_000)),
      { maxLength: 200 },
    ),
    (limits, steps) => {
      const { breaker, clock } = make({ ...limits, openTime: 1_000, maxOpenTime: 4_000 });
      const inside: { ticket: number; probe: boolean }[] = [];
      for (const [step, number] of steps) {
        if (step === "pass") clock.advance(number);
        else if (step === "enter") {
          const admits = breaker.admits;
          const ticket = breaker.enter();
          equal(typeof ticket === "number", admits);
          if (typeof ticket === "number") {
            inside.push({ ticket, probe: breaker.state === "half_open" });
            if (limits.maxRequests > 0) ok(inside.length <= limits.maxRequests);
          }
        } else {
          const [one] = inside.splice(number % (inside.length || 1), 1);
          if (one !== undefined) breaker.exit(one.ticket, step as BreakerOutcome);
        }
        equal(breaker.stats().active, inside.length);
        ok(breaker.retryAfter <= 4_000);
        if (breaker.state === "half_open") {
          const last = inside.at(-1)?.ticket ?? 0;
          ok(
            inside.filter((one) => one.probe && one.ticket === last).length <=
              limits.halfOpenProbes,
          );
        }
      }
      for (const { ticket } of inside) breaker.exit(ticket, "cancelled");
      clock.advance(4_000);
      equal(breaker.admits, true, "it ends");
    },
  ));
});

function make(limits: Partial<BreakerLimits>) {
  const clock = new ManualClock();
  const breaker = new Breaker(limits, clock);
  const changes: BreakerState[] = [];
  breaker.onChange = (state) => changes.push(state);
  return { breaker, clock, changes };
}

/** Lets one request after the other in, each with its outcome. */
function run(breaker: Breaker, ...outcomes: BreakerOutcome[]): void {
  for (const outcome of outcomes) {
    const ticket = breaker.enter();
    equal(typeof ticket, "number", `not let in: ${ticket}`);
    breaker.exit(ticket as number, outcome);
  }
}

Deno.test("another breaker goes on with what is left, and opens for longer than before if its probe fails", () => {
  const limits = { consecutiveFailures: 1, openTime: 1_000, maxOpenTime: 3_000 };
  const before = make(limits);
  equal(before.breaker.hold, null);
  run(before.breaker, "failure");
  before.clock.advance(400);
  const hold = before.breaker.hold!;
  deepEqual(hold, { left: 600, tries: 1 });
  const { breaker, clock, changes } = make(limits);
  const early = breaker.enter() as number;
  breaker.resume(hold);
  breaker.exit(early, "success");
  deepEqual([breaker.state, breaker.retryAfter, breaker.enter()], ["open", 600, "open"]);
  deepEqual([changes.length, breaker.stats().opened], [0, 0], "it is no new opening");
  clock.advance(600);
  breaker.exit(breaker.enter() as number, "failure");
  equal(breaker.retryAfter, 2_000);
  breaker.resume({ left: 1, tries: 1 });
  equal(breaker.retryAfter, 2_000, "what it knows itself is newer");

  // One that is half open, or whose time is over, lets a probe in at once.
  clock.advance(2_000);
  breaker.enter();
  deepEqual(breaker.hold, { left: 0, tries: 2 });
  const third = make(limits).breaker;
  third.resume({ left: -50, tries: 2 });
  equal(typeof third.enter(), "number");
  equal(third.state, "half_open");
  const long = make(limits).breaker;
  long.resume({ left: 1e9, tries: 1 });
  equal(long.retryAfter, 3_000);
});
