import assert from "node:assert/strict";
import { ManualClock } from "../../src/base/clock.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { SilenceClock, type SilenceLimits } from "../../src/proxy/silence_clock.ts";

function start(limits: SilenceLimits) {
  const clock = new ManualClock();
  const wheel = new TimerWheel({ clock });
  const over: string[] = [];
  const silence = new SilenceClock(wheel, limits, (what) => over.push(what));
  const pass = (ms: number) => {
    // In steps, as time passes for the wheel.
    for (; ms > 0; ms -= 20) {
      clock.advance(Math.min(ms, 20));
      wheel.advance();
    }
  };
  return { wheel, silence, over, pass };
}

Deno.test("silence is counted from the last piece", () => {
  const { silence, over, pass, wheel } = start({ silence: 1000, duration: 0 });
  for (let i = 0; i < 10; i++) {
    pass(900);
    silence.touch();
  }
  assert.deepEqual(over, []);
  pass(960);
  assert.deepEqual(over, []);
  pass(80);
  assert.deepEqual(over, ["silence"]);
  assert.equal(wheel.size, 0);
});

Deno.test("the duration ends what is never silent", () => {
  const { silence, over, pass, wheel } = start({ silence: 1000, duration: 5000 });
  for (let i = 0; i < 49; i++) {
    pass(100);
    silence.touch();
  }
  assert.deepEqual(over, []);
  pass(200);
  assert.deepEqual(over, ["duration"]);
  assert.equal(wheel.size, 0);
});

Deno.test("without limits nothing waits in the wheel, and a stopped clock says nothing", () => {
  const free = start({ silence: 0, duration: 0 });
  assert.equal(free.wheel.size, 0);
  free.pass(100_000);
  assert.deepEqual(free.over, []);
  const stopped = start({ silence: 100, duration: 100 });
  stopped.silence.stop();
  stopped.pass(1000);
  assert.deepEqual(stopped.over, []);
});

Deno.test("any number of pieces costs no deadline of its own", () => {
  const { silence, wheel } = start({ silence: 1000, duration: 9000 });
  for (let i = 0; i < 1000; i++) silence.touch();
  assert.equal(wheel.size, 2);
});
