import assert from "node:assert/strict";
import { ManualClock } from "../../src/base/clock.ts";
import { ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, MAX_WINDOW } from "../../src/http2/constants.ts";
import { Http2Error } from "../../src/http2/error.ts";
import { ReceiveWindow, SendWindow } from "../../src/http2/flow_control.ts";
import { type Abuse, Guard, GUARD_LIMITS } from "../../src/http2/guard.ts";

const flow = (stream: number) => (error: unknown) =>
  error instanceof Http2Error && error.code === FLOW_CONTROL_ERROR && error.stream === stream;

Deno.test("RFC 9113 §6.9.1: a send window over 2^31 - 1 is an error of its stream or connection", () => {
  for (const stream of [0, 5]) {
    const window = new SendWindow(stream);
    window.grow(MAX_WINDOW - 65_535);
    assert.equal(window.available, MAX_WINDOW);
    assert.throws(() => window.grow(1), flow(stream));
  }
});

Deno.test("RFC 9113 §6.9.2: a send window can go below zero and come back", () => {
  const window = new SendWindow(1);
  window.consume(60_000);
  window.grow(16_384 - 65_535);
  assert.equal(window.available, -43_616);
  window.grow(50_000);
  assert.equal(window.available, 6_384);
});

Deno.test("a window that opens by crumbs makes no crumbs, but one may use it up", () => {
  const window = new SendWindow(1, 1500);
  assert.equal(window.allows(5000, 1000), 1500, "worth a frame");
  assert.equal(window.allows(20, 1000), 20, "all there is to send");
  window.consume(1200);
  assert.equal(window.allows(5000, 1000), 300, "the last of it, once");
  window.consume(300, true);
  for (let opened = 100; opened < 1000; opened += 100) {
    window.grow(100);
    assert.equal(window.allows(5000, 1000), 0, `${opened} are not worth it`);
    assert.equal(window.allows(100, 1000), 100);
  }
  window.grow(100);
  assert.equal(window.allows(5000, 1000), 1000);
  window.consume(1000);
  window.grow(5);
  assert.equal(window.allows(5000, 1000), 5, "and again the last of it, once");
});

Deno.test("RFC 9113 §6.9.1: content over the receive window is an error", () => {
  for (const stream of [0, 3]) {
    const window = new ReceiveWindow(stream, 100);
    window.receive(100);
    assert.throws(() => window.receive(1), flow(stream));
  }
});

Deno.test("Updates are held back until half of the window waits, and nothing is lost", () => {
  const window = new ReceiveWindow(1, 100);
  window.receive(100);
  assert.equal(window.release(49), 0);
  assert.equal(window.release(1), 50);
  assert.equal(window.available, 50);
  assert.equal(window.release(50), 50);
  assert.equal(window.available, 100);
  assert.equal(window.enlarge(1000), 900);
  assert.equal(window.available, 1000);
  assert.equal(window.enlarge(10), 0);
});

Deno.test("Every abuse has its burst, then its rate, and does not spend another's", () => {
  for (const kind of Object.keys(GUARD_LIMITS) as Abuse[]) {
    const clock = new ManualClock();
    const guard = new Guard(clock);
    const { burst, perSecond } = GUARD_LIMITS[kind];
    for (let i = 0; i < burst; i++) guard.count(kind);
    clock.advance(1000);
    for (let i = 0; i < perSecond; i++) guard.count(kind);
    for (const other of Object.keys(GUARD_LIMITS) as Abuse[]) {
      if (other !== kind) guard.count(other);
    }
    assert.throws(
      () => guard.count(kind),
      (error) =>
        error instanceof Http2Error && error.code === ENHANCE_YOUR_CALM &&
        error.message.includes(kind),
    );
    clock.advance(1_000_000);
    for (let i = 0; i < burst; i++) guard.count(kind);
    assert.throws(() => guard.count(kind));
  }
});
