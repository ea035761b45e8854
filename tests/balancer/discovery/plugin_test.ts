/** Endpoints that somebody else finds. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { ManualClock } from "../../../src/base/clock.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import {
  PLUGIN,
  PluginDiscovery,
  type PluginPort,
  type PluginSource,
} from "../../../src/balancer/discovery/plugin.ts";
import { createDiscovery } from "../../../src/balancer/discovery/table.ts";
import { UPSTREAM_LIMITS } from "../../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../../src/http1/limits.ts";
import { Listener, TestTools } from "./listener.ts";

class Bench {
  readonly clock = new ManualClock();
  readonly wheel = new TimerWheel({ clock: this.clock });
  readonly listener = new Listener();
  readonly ports: PluginPort[] = [];
  readonly discovery: PluginDiscovery;

  constructor(source: PluginSource = () => {}, allowEmpty = false) {
    this.discovery = new PluginDiscovery(
      { ...PLUGIN, plugin: "finder", allowEmpty, backoff: 100, maxBackoff: 400 },
      (port) => {
        this.ports.push(port);
        return source(port);
      },
      {
        wheel: this.wheel,
        clearTextEngine: "deno",
        limits: UPSTREAM_LIMITS,
        chunkLimits: CHUNK_LIMITS,
      },
    );
    this.discovery.start(this.listener);
  }

  get told(): string {
    return this.listener.told.join("; ");
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 20) {
      this.clock.advance(Math.min(20, left));
      this.wheel.advance();
      for (let i = 0; i < 20; i++) await Promise.resolve();
    }
  }
}

Deno.test("lists that are pushed are told, the last of many in a row alone", async () => {
  const bench = new Bench();
  const [port] = bench.ports;
  port!.push(["10.0.0.1:80"]);
  equal(bench.told, "update 10.0.0.1:80");
  for (let i = 2; i < 1_000; i++) port!.push([`10.0.${i >> 8}.${i & 255}:80`]);
  equal(bench.listener.told.length, 1);
  await bench.pass(120);
  equal(bench.told, "update 10.0.0.1:80; update 10.0.3.231:80");
  port!.push(["10.0.3.231:80"]);
  await bench.pass(120);
  equal(bench.listener.told.length, 2);
  bench.discovery.stop();
  equal(bench.wheel.size, 0);
});

Deno.test("an async iterable is followed; its end keeps the last set", async () => {
  const bench = new Bench(async function* () {
    yield ["10.0.0.1:80"];
    await Promise.resolve();
    yield { endpoints: ["10.0.0.2:80"] };
  });
  await bench.pass(300);
  equal(bench.told, "update 10.0.0.1:80; update 10.0.0.2:80");
  equal(bench.discovery.state().error, null);
  bench.discovery.refresh();
  equal(bench.ports.length, 2);
  ok(bench.ports[0]!.signal.aborted);
  bench.discovery.stop();
});

Deno.test("a source that throws is begun again, later and later, and told once", async () => {
  for (
    const source of [
      () => {
        throw new Error("at once");
      },
      () => Promise.reject(new Error("later")),
      // deno-lint-ignore require-yield
      async function* () {
        await Promise.resolve();
        throw new Error("in the middle");
      },
    ] as PluginSource[]
  ) {
    const bench = new Bench(source);
    await bench.pass(20);
    equal(bench.told, "error plugin_error");
    const begun: number[] = [];
    for (let i = 0; i < 60; i++) {
      await bench.pass(20);
      begun.push(bench.ports.length);
    }
    // After 100, 200, 400 and 400 milliseconds.
    equal(bench.ports.length, 5);
    equal(bench.told, "error plugin_error");
    bench.discovery.stop();
    await bench.pass(1_000);
    equal(bench.ports.length, 5);
    equal(bench.wheel.size, 0);
  }
});

Deno.test("a list that makes no sense is refused as a whole; the next good one recovers", async () => {
  const bench = new Bench();
  const [port] = bench.ports;
  port!.push(["10.0.0.1:80"]);
  for (const bad of [null, ["10.0.0.2:80", "x"], ["unix:/run/docker.sock"], []]) {
    port!.push(bad);
    await bench.pass(120);
  }
  equal(bench.told, "update 10.0.0.1:80; error plugin_error");
  equal(bench.discovery.state().failures, 4);
  port!.push(["10.0.0.1:80"]);
  await bench.pass(120);
  equal(bench.told, "update 10.0.0.1:80; error plugin_error; recovered");
  bench.discovery.stop();
});

Deno.test("after a stop or a failure what comes late is not told", async () => {
  const bench = new Bench();
  const [first] = bench.ports;
  first!.fail(new Error("gone"));
  first!.push(["10.0.0.1:80"]);
  first!.fail(new Error("gone"));
  await bench.pass(200);
  equal(bench.told, "error plugin_error");
  equal(bench.ports.length, 2);
  bench.ports[1]!.push(["10.0.0.2:80"]);
  bench.ports[1]!.push(["10.0.0.3:80"]);
  bench.discovery.stop();
  await bench.pass(200);
  equal(bench.told, "error plugin_error; recovered; update 10.0.0.2:80");
});

Deno.test("the table asks which plugin finds endpoints", () => {
  using tools = new TestTools();
  const config = { ...PLUGIN, plugin: "finder" };
  throws(() => createDiscovery(config, tools), /"finder" names no endpoints/);
  const asked: string[] = [];
  const listener = new Listener();
  const discovery = createDiscovery(config, {
    ...tools,
    wheel: tools.wheel,
    pluginSource: (plugin) => {
      asked.push(plugin);
      return (port) => port.push(["10.0.0.1:80"]);
    },
  });
  discovery.start(listener);
  deepEqual([asked, listener.told], [["finder"], ["update 10.0.0.1:80"]]);
  discovery.stop();
});
