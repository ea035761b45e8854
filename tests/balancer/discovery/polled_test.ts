/** Asking again and again, on a manual clock, and what is told of it. */
import { deepEqual, equal, throws } from "node:assert/strict";
import { ManualClock } from "../../../src/base/clock.ts";
import { ProxyError } from "../../../src/base/error.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import type { Run } from "../../../src/balancer/health/bounded_run.ts";
import { MOST_ENDPOINTS } from "../../../src/balancer/discovery/discovery.ts";
import { parseEndpoints } from "../../../src/balancer/discovery/endpoint_list.ts";
import {
  PolledDiscovery,
  type PolledOptions,
  type Reading,
} from "../../../src/balancer/discovery/polled.ts";
import { createDiscovery, type DiscoveryConfig } from "../../../src/balancer/discovery/table.ts";
import { UPSTREAM_LIMITS } from "../../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../../src/http1/limits.ts";
import { Listener, TestTools } from "./listener.ts";

const list = (...entries: string[]) =>
  parseEndpoints(entries, { context: "Test", errorType: "config_error", unix: false });
const broken = () => new ProxyError("dns_error", "broken");

/** A source whose answers the test gives. */
class Bench {
  readonly clock = new ManualClock();
  readonly wheel = new TimerWheel({ clock: this.clock });
  readonly listener = new Listener();
  readonly discovery: PolledDiscovery;
  asked = 0;
  run: Run | null = null;
  chance = 0;
  stops = 0;
  #resolve: (reading: Reading) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(options: Partial<PolledOptions> = {}) {
    this.discovery = new PolledDiscovery({
      tools: {
        wheel: this.wheel,
        clearTextEngine: "deno",
        limits: UPSTREAM_LIMITS,
        chunkLimits: CHUNK_LIMITS,
        random: () => this.chance,
        date: () => this.clock.now() + 1,
      },
      context: "Test",
      interval: 10_000,
      timeout: 1_000,
      backoff: 500,
      maxBackoff: 3_000,
      allowEmpty: false,
      read: (run) => {
        this.asked++;
        this.run = run;
        return new Promise((resolve, reject) => {
          this.#resolve = resolve;
          this.#reject = reject;
        });
      },
      onStop: () => this.stops++,
      ...options,
    });
  }

  get told(): string {
    return this.listener.told.join("; ");
  }

  async answer(reading: Partial<Reading>): Promise<void> {
    this.#resolve({ endpoints: null, next: null, ...reading });
    await turn();
  }

  async fail(error: unknown = broken()): Promise<void> {
    this.#reject(error);
    await turn();
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 20) {
      this.clock.advance(Math.min(20, left));
      this.wheel.advance();
      await turn();
    }
  }

  /** How long it takes until it asks again. */
  async wait(): Promise<number> {
    const { asked } = this;
    const since = this.clock.now();
    while (this.asked === asked && this.clock.now() - since < 100_000) await this.pass(20);
    return this.clock.now() - since;
  }
}

async function turn(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

Deno.test("only what has changed is told, and nothing twice", async () => {
  const bench = new Bench();
  bench.discovery.start(bench.listener);
  await bench.answer({ endpoints: list("b:1", "a:1") });
  await bench.wait();
  await bench.answer({ endpoints: list("a:1", "b:1") });
  await bench.wait();
  await bench.answer({ endpoints: null });
  await bench.wait();
  await bench.answer({ endpoints: list("a:1") });
  equal(bench.told, "update a:1 b:1; update a:1");
  bench.discovery.stop();
});

Deno.test("it asks again after the interval, or when the answer says, with some chance on top", async () => {
  const bench = new Bench();
  bench.discovery.start(bench.listener);
  await bench.answer({ endpoints: list("a:1") });
  equal(await bench.wait(), 10_000);
  await bench.answer({ next: 2_000 });
  equal(await bench.wait(), 2_000);
  bench.chance = 1;
  await bench.answer({ next: 2_000 });
  equal(await bench.wait(), 2_200);
  bench.discovery.stop();
});

Deno.test("failures back off up to a limit, are told once, and keep the last good set", async () => {
  const bench = new Bench();
  bench.discovery.start(bench.listener);
  await bench.answer({ endpoints: list("a:1") });
  await bench.wait();
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) {
    await bench.fail();
    waits.push(await bench.wait());
  }
  deepEqual(waits, [500, 1_000, 2_000, 3_000, 3_000]);
  equal(bench.told, "update a:1; error dns_error");
  deepEqual(bench.discovery.state(), {
    endpoints: 1,
    lastSuccess: 1,
    failures: 5,
    error: "dns_error: broken",
  });
  await bench.answer({ endpoints: list("a:1") });
  equal(bench.told, "update a:1; error dns_error; recovered");
  equal(await bench.wait(), 10_000);
  await bench.fail();
  equal(await bench.wait(), 500);
  await bench.answer({ endpoints: list("b:1") });
  equal(
    bench.told,
    "update a:1; error dns_error; recovered; error dns_error; recovered; update b:1",
  );
  bench.discovery.stop();
});

Deno.test("a source that does not answer in time has failed, with the error of its stage", async () => {
  const bench = new Bench();
  bench.discovery.start(bench.listener);
  bench.run!.timeoutType = "dns_timeout";
  await bench.pass(980);
  equal(bench.told, "");
  await bench.pass(40);
  equal(bench.told, "error dns_timeout");
  equal(bench.run!.signal.aborted, true);
  // What it says later does not count.
  await bench.answer({ endpoints: list("a:1") });
  equal(bench.told, "error dns_timeout");
  bench.discovery.stop();
});

Deno.test("an empty answer is a failure, unless it is allowed; too large a one always is", async () => {
  const bench = new Bench();
  let accepted = 0;
  bench.discovery.start(bench.listener);
  await bench.answer({ endpoints: list("a:1"), onAccepted: () => accepted++ });
  await bench.wait();
  await bench.answer({ endpoints: [], onAccepted: () => accepted++ });
  equal(bench.told, "update a:1; error no_upstream");
  equal(accepted, 1);
  equal(await bench.wait(), 500);
  bench.discovery.stop();
  const lenient = new Bench({ allowEmpty: true });
  lenient.discovery.start(lenient.listener);
  await lenient.answer({ endpoints: [] });
  equal(lenient.told, "update ");
  await lenient.wait();
  const [one] = list("a:1");
  await lenient.answer({ endpoints: new Array(MOST_ENDPOINTS + 1).fill(one) });
  equal(lenient.told, "update ; error no_upstream");
  lenient.discovery.stop();
});

Deno.test("a refresh asks at once, once more after a question that is under way, and ends a backoff", async () => {
  const bench = new Bench();
  bench.discovery.refresh();
  equal(bench.asked, 0);
  bench.discovery.start(bench.listener);
  for (let i = 0; i < 5; i++) bench.discovery.refresh();
  await bench.pass(40);
  equal(bench.asked, 1);
  await bench.answer({ endpoints: list("a:1") });
  equal(await bench.wait(), 20);
  await bench.answer({});
  equal(await bench.wait(), 10_000);
  await bench.fail();
  bench.discovery.refresh();
  equal(bench.asked, 4);
  bench.discovery.stop();
});

Deno.test("a listener may refresh or stop it, and one question at a time remains", async () => {
  const bench = new Bench();
  const { listener, discovery } = bench;
  const told = listener.onError.bind(listener);
  listener.onError = (error) => {
    told(error);
    discovery.refresh();
  };
  discovery.start(listener);
  await bench.fail();
  equal(bench.asked, 2);
  equal(bench.wheel.size, 1);
  await bench.pass(980);
  equal(bench.asked, 2);
  listener.onRecovered = () => discovery.stop();
  await bench.answer({ endpoints: null });
  await bench.pass(60_000);
  equal(bench.asked, 2);
  equal(bench.wheel.size, 0);
});

Deno.test("after stop nothing is told, asked or waited for", async () => {
  const bench = new Bench();
  bench.discovery.start(bench.listener);
  throws(() => bench.discovery.start(bench.listener), /twice/);
  bench.discovery.stop();
  bench.discovery.stop();
  equal(bench.run!.signal.aborted, true);
  await bench.answer({ endpoints: list("a:1") });
  bench.discovery.refresh();
  await bench.pass(60_000);
  equal(bench.told, "");
  equal(bench.asked, 1);
  equal(bench.stops, 1);
  equal(bench.wheel.size, 0);
});

Deno.test("what is not a ProxyError is told as a defect", async () => {
  const bench = new Bench();
  bench.discovery.start(bench.listener);
  await bench.fail(new TypeError("oops"));
  equal(bench.told, "error internal_error");
  bench.discovery.stop();
});

Deno.test("the static source tells its endpoints as they stand, at once and once", () => {
  using tools = new TestTools();
  const listener = new Listener();
  const endpoints = list("a:1", "b:1").toReversed();
  const discovery = createDiscovery({ type: "static", endpoints }, tools);
  discovery.start(listener);
  discovery.refresh();
  deepEqual(listener.told, ["update b:1 a:1"]);
  discovery.stop();
});

Deno.test("there is no source but those of the table", () => {
  using tools = new TestTools();
  for (const type of ["consul", "toString"]) {
    throws(
      () => createDiscovery({ type } as unknown as DiscoveryConfig, tools),
      new RegExp(`"${type}": there is no such source`),
    );
  }
  throws(() => new Bench({ interval: 0 }), /`interval`/);
  throws(() => new Bench({ timeout: 0 }), /`timeout`/);
  throws(() => new Bench({ backoff: 5, maxBackoff: 4 }), /`backoff`/);
});
