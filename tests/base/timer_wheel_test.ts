import assert from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../src/base/clock.ts";
import { Deadline, TimerWheel } from "../../src/base/timer_wheel.ts";

function setup(): { clock: ManualClock; wheel: TimerWheel; run: (ms: number) => void } {
  const clock = new ManualClock();
  const wheel = new TimerWheel({ clock, tick: 20 });
  const run = (ms: number) => {
    for (let passed = 0; passed < ms; passed += 5) {
      clock.advance(5);
      wheel.advance();
    }
  };
  return { clock, wheel, run };
}

Deno.test("a deadline fires once, not early and at most one tick late", () => {
  const { clock, wheel, run } = setup();
  const fired: number[] = [];
  wheel.arm(new Deadline(() => fired.push(clock.now())), 130);
  run(129);
  assert.equal(fired.length, 0);
  run(1000);
  assert.equal(fired.length, 1);
  assert.ok(fired[0]! >= 130 && fired[0]! <= 155, `fired at ${fired[0]}`);
  assert.equal(wheel.size, 0);
});

Deno.test("a cancelled deadline never fires, and cancelling twice is harmless", () => {
  const { wheel, run } = setup();
  const deadline = new Deadline(() => assert.fail("fired"));
  wheel.arm(deadline, 50);
  wheel.cancel(deadline);
  wheel.cancel(deadline);
  run(500);
  assert.equal(deadline.armed, false);
});

Deno.test("arming again moves a deadline both ways", () => {
  const { clock, wheel, run } = setup();
  const fired: number[] = [];
  const later = new Deadline(() => fired.push(clock.now()));
  wheel.arm(later, 50);
  run(40);
  wheel.arm(later, 200);
  run(180);
  assert.equal(fired.length, 0);
  run(60);
  assert.equal(fired.length, 1);
  const sooner = new Deadline(() => fired.push(clock.now()));
  wheel.arm(sooner, 5_000);
  const now = clock.now();
  wheel.arm(sooner, 40);
  run(100);
  assert.equal(fired.length, 2);
  assert.ok(fired[1]! - now <= 65);
});

Deno.test("a deadline further away than one turn of the wheel fires in time", () => {
  const { clock, wheel, run } = setup();
  let at = 0;
  wheel.arm(new Deadline(() => at = clock.now()), 75_000);
  run(74_990);
  assert.equal(at, 0);
  run(100);
  assert.ok(at >= 75_000);
});

Deno.test("after a long stall everything that is due fires", () => {
  const { clock, wheel } = setup();
  let fired = 0;
  for (let ms = 1; ms < 30_000; ms += 331) wheel.arm(new Deadline(() => fired++), ms);
  const armed = wheel.size;
  clock.advance(60_000);
  wheel.advance();
  assert.equal(fired, armed);
});

Deno.test("a handler may cancel or arm others, and a throwing one stops nobody", () => {
  const clock = new ManualClock();
  const errors: unknown[] = [];
  const wheel = new TimerWheel({ clock, tick: 20, onError: (error) => errors.push(error) });
  const fired: string[] = [];
  const victim = new Deadline(() => fired.push("victim"));
  const again: Deadline = new Deadline(() => {
    fired.push("again");
    if (fired.filter((one) => one === "again").length < 3) wheel.arm(again, 20);
  });
  wheel.arm(victim, 40);
  wheel.arm(
    new Deadline(() => {
      throw new Error("boom");
    }),
    40,
  );
  wheel.arm(new Deadline(() => wheel.cancel(victim)), 40);
  wheel.arm(again, 20);
  for (let i = 0; i < 40; i++) {
    clock.advance(20);
    wheel.advance();
  }
  assert.equal(fired.filter((one) => one === "again").length, 3);
  assert.equal(errors.length, 1);
});

Deno.test("for any order of arming, moving and cancelling, deadlines fire when they should", () => {
  fc.assert(fc.property(
    fc.array(
      fc.record({ id: fc.nat(5), ms: fc.integer({ min: 1, max: 3_000 }), wait: fc.nat(60) }),
    ),
    (steps) => {
      const { clock, wheel, run } = setup();
      const due = new Map<number, number>();
      const deadlines = Array.from({ length: 6 }, (_, id) =>
        new Deadline(() => {
          const at = due.get(id);
          assert.ok(at !== undefined && clock.now() >= at && clock.now() <= at + 25);
          due.delete(id);
        }));
      for (const { id, ms, wait } of steps) {
        if (ms % 7 === 0) {
          wheel.cancel(deadlines[id]!);
          due.delete(id);
        } else {
          wheel.arm(deadlines[id]!, ms);
          due.set(id, clock.now() + ms);
        }
        run(wait);
      }
      run(3_100);
      assert.equal(due.size, 0);
      assert.equal(wheel.size, 0);
    },
  ));
});

Deno.test("with the process clock a wheel ticks by itself and stops when it is closed", async () => {
  const wheel = new TimerWheel({ tick: 5 });
  const started = performance.now();
  await new Promise<void>((resolve) => wheel.arm(new Deadline(resolve), 30));
  assert.ok(performance.now() - started >= 29);
  wheel.close();
});

Deno.test("without a handler of its own, what is thrown is reported, and the others go on", () => {
  const { clock, wheel } = setup();
  const reported: unknown[] = [];
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    reported.push(event.error);
  };
  addEventListener("error", onError);
  try {
    let fired = 0;
    wheel.arm(new Deadline(() => fired++), 40);
    const boom = new Error("boom");
    wheel.arm(
      new Deadline(() => {
        throw boom;
      }),
      40,
    );
    wheel.arm(new Deadline(() => fired++), 40);
    clock.advance(60);
    wheel.advance();
    assert.deepEqual(reported, [boom]);
    assert.equal(fired, 2);
  } finally {
    removeEventListener("error", onError);
  }
});
