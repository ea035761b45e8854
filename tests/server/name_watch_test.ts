/** Names of upstreams over a source and a clock that do what the test says. */
import assert from "node:assert/strict";
import { ManualClock } from "../../src/base/clock.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { logger } from "../../src/observe/log.ts";
import { NameWatch, type WantedNames } from "../../src/server/name_watch.ts";
import { covers, reachableAnyway, wantedNames } from "../../src/server/upstream_names.ts";
import { configOf } from "../config/support.ts";

/** Lets promises that are settled be heard. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

interface Zone {
  [host: string]: readonly string[] | "fails";
}

function make(zone: Zone, options: { mayReach?: (host: string) => boolean; ttl?: number } = {}) {
  const clock = new ManualClock();
  const wheel = new TimerWheel({ clock });
  const told: Record<string, readonly string[]>[] = [];
  let asked = 0;
  let replaced = 0;
  const state = { replace: (): Promise<void> => Promise.resolve() };
  let wanted: WantedNames = new Map();
  const reach = () => ({ wanted, anyway: (host: string) => options.mayReach?.(host) ?? false });
  const grant = () => watch.granted(watch.rights(reach()), reach());
  const watch: NameWatch = new NameWatch({
    clock,
    wheel,
    log: logger("test"),
    source: (host) => {
      asked++;
      const addresses = zone[host] ?? "fails";
      if (addresses === "fails") return Promise.reject(new Error("no such host"));
      return Promise.resolve({ addresses, ttl: options.ttl ?? 5_000 });
    },
    tell: (names) => told.push(names),
    async replace() {
      replaced++;
      await state.replace();
      grant();
    },
  });
  return {
    watch,
    told,
    state,
    get asked() {
      return asked;
    },
    get replaced() {
      return replaced;
    },
    /** Begins with these names, as the program does. */
    async start(...hosts: string[]) {
      await this.want(new Map(hosts.map((host) => [host, new Set([80])])));
      grant();
      told.length = 0;
    },
    async want(names: WantedNames) {
      wanted = names;
      await watch.update(names, false);
    },
    rights: () => watch.rights(reach()),
    async pass(ms: number) {
      for (let left = ms; left > 0; left -= 500) {
        clock.advance(Math.min(500, left));
        wheel.advance();
        await turns();
      }
    },
  };
}

Deno.test("names are looked up when their answers run out, and others are told where they lead", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1", "10.0.0.2"] };
  const names = make(zone);
  await names.start("a.test");
  assert.deepEqual(names.watch.table, { "a.test": ["10.0.0.1", "10.0.0.2"] });
  assert.deepEqual(names.rights(), ["10.0.0.1:80", "10.0.0.2:80"]);
  await names.pass(4_500);
  assert.equal(names.asked, 1);
  await names.pass(1_000);
  assert.equal(names.asked, 2);
  assert.deepEqual(names.told, [], "nothing is new");
  zone["a.test"] = ["10.0.0.2"];
  await names.pass(5_500);
  assert.deepEqual(names.told, [{ "a.test": ["10.0.0.2"] }]);
  assert.equal(names.replaced, 0, "it may be reached already");
  names.watch.stop();
});

Deno.test("an address that is new beside others is followed after a while, and what is known stays in use", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1"] };
  const names = make(zone);
  await names.start("a.test");
  zone["a.test"] = ["10.0.0.1", "10.0.0.2"];
  await names.pass(5_500);
  assert.deepEqual(names.told[0], { "a.test": ["10.0.0.1", "10.0.0.2"] });
  assert.equal(names.replaced, 1, "the first one need not wait");
  assert.deepEqual(names.rights(), ["10.0.0.1:80", "10.0.0.2:80"]);
  zone["a.test"] = ["10.0.0.1", "10.0.0.3"];
  await names.pass(10_000);
  assert.equal(names.replaced, 1, "the next one must");
  await names.pass(15_000);
  assert.equal(names.replaced, 2);
  names.watch.stop();
});

Deno.test("a name that leads to nothing known is followed at once; until then the old addresses are told", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1"] };
  const names = make(zone);
  await names.start("a.test");
  const { promise, resolve } = Promise.withResolvers<void>();
  names.state.replace = () => promise;
  zone["a.test"] = ["10.0.0.9"];
  await names.pass(5_500);
  assert.equal(names.replaced, 1);
  assert.deepEqual(names.told, []);
  assert.deepEqual(names.watch.table, { "a.test": ["10.0.0.1"] });
  assert.deepEqual(names.rights(), ["10.0.0.1:80", "10.0.0.9:80"]);
  resolve();
  await turns();
  assert.deepEqual(names.watch.table, { "a.test": ["10.0.0.9"] });
  assert.deepEqual(names.told.at(-1), { "a.test": ["10.0.0.9"] });
  names.watch.stop();
});

Deno.test("a name that leads elsewhere all the time does not wear the workers out, and once its addresses are known none", async () => {
  const pool = Array.from({ length: 8 }, (_, i) => [`10.0.0.${2 * i}`, `10.0.0.${2 * i + 1}`]);
  const zone: Zone = { "a.test": pool[0]! };
  const names = make(zone, { ttl: 1_000 });
  await names.start("a.test");
  for (let i = 1; i < 300; i++) {
    zone["a.test"] = pool[i % pool.length]!;
    await names.pass(1_000);
  }
  assert.ok(names.replaced >= 2 && names.replaced <= 8, `${names.replaced} times in five minutes`);
  const before = names.replaced;
  for (let i = 0; i < 100; i++) {
    zone["a.test"] = pool[i % pool.length]!;
    await names.pass(1_000);
  }
  assert.equal(names.replaced, before);
  assert.deepEqual(names.told.at(-1), { "a.test": zone["a.test"] });
  names.watch.stop();
});

Deno.test("addresses that no answer has had for an hour are not granted any more", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1"] };
  const names = make(zone);
  await names.start("a.test");
  zone["a.test"] = ["10.0.0.2"];
  await names.pass(10_000);
  assert.deepEqual(names.rights(), ["10.0.0.1:80", "10.0.0.2:80"]);
  await names.pass(3_600_000);
  assert.deepEqual(names.rights(), ["10.0.0.2:80"]);
  names.watch.stop();
});

Deno.test("workers that cannot be replaced go on, and it is tried again, ever more rarely", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1"] };
  const names = make(zone);
  await names.start("a.test");
  names.state.replace = () => Promise.reject(new Error("no"));
  zone["a.test"] = ["10.0.0.2"];
  await names.pass(60_000);
  assert.ok(names.replaced >= 3 && names.replaced <= 8, `${names.replaced} times`);
  assert.deepEqual(names.watch.table, { "a.test": ["10.0.0.1"] });
  names.state.replace = () => Promise.resolve();
  await names.pass(60_000);
  assert.deepEqual(names.watch.table, { "a.test": ["10.0.0.2"] });
  names.watch.stop();
});

Deno.test("a failing look-up keeps what is known, and is tried again soon", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1"], "b.test": "fails" };
  const names = make(zone);
  await names.start("a.test", "b.test");
  assert.deepEqual(names.watch.table, { "a.test": ["10.0.0.1"] });
  zone["a.test"] = "fails";
  zone["b.test"] = ["10.0.0.2"];
  await names.pass(6_000);
  assert.deepEqual(names.watch.table, { "a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"] });
  assert.equal(names.replaced, 1);
  names.watch.stop();
});

Deno.test("what may be reached anyway is told, and needs neither rights nor other workers", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1"] };
  const names = make(zone, { mayReach: (host) => host.startsWith("10.") });
  await names.start("a.test");
  assert.deepEqual(names.rights(), []);
  zone["a.test"] = ["10.9.9.9"];
  await names.pass(6_000);
  assert.deepEqual(names.told, [{ "a.test": ["10.9.9.9"] }]);
  assert.equal(names.replaced, 0);
  names.watch.stop();
});

Deno.test("names come and go with the config", async () => {
  const zone: Zone = { "a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"] };
  const names = make(zone);
  await names.start("a.test", "b.test");
  await names.want(new Map([["b.test", new Set([80, 81])]]));
  await turns();
  assert.deepEqual(names.watch.table, { "b.test": ["10.0.0.2"] });
  assert.deepEqual(names.rights(), ["10.0.0.2:80", "10.0.0.2:81"]);
  const { asked } = names;
  await names.want(new Map());
  await names.pass(60_000);
  assert.equal(names.asked, asked, "nobody asks for what is not wanted");
  assert.deepEqual(names.watch.table, {});
  names.watch.stop();
});

Deno.test("rights cover what Deno's net rights cover", () => {
  const cases: [string, string, number, boolean][] = [
    ["10.0.0.1", "10.0.0.1", 80, true],
    ["10.0.0.1:80", "10.0.0.1", 80, true],
    ["10.0.0.1:81", "10.0.0.1", 80, false],
    ["10.0.0.0/8", "10.9.9.9", 80, true],
    ["10.0.0.0/8", "11.0.0.1", 80, false],
    ["fd00::/8", "fd12::1", 80, true],
    ["[fd12::1]:80", "fd12::1", 80, true],
    ["fd00::/8", "10.0.0.1", 80, false],
    ["app.test", "app.test", 80, true],
    ["APP.test:80", "app.TEST", 80, true],
    ["*.test", "app.test", 80, true],
    ["*.test", "test", 80, true],
    ["*.test", "apptest", 80, false],
  ];
  for (const [right, host, port, covered] of cases) {
    assert.equal(covers([right], host, port), covered, `${right} ${host}:${port}`);
  }
});

Deno.test("the names of a config are those of its endpoints and proxies, and found ones that are allowed", async () => {
  const config = await configOf(`listeners: [{ name: web, address: "127.0.0.1:8080" }]
services: [{ name: edge, routes: [{ id: all, upstream: named }] }]
upstreams:
  - name: named
    endpoints: ["App.test:80", "app.test:81", "10.0.0.1:80", "unix:/a"]
  - name: through
    endpoints: ["10.0.0.2:80"]
    transport: { proxy: { address: "proxy.test:3128" } }
  - name: found
    discovery: { type: file, path: m.yaml, allow: ["*.allowed.test", "10.1.0.0/16"] }
server: { allowed_peers: ["10.2.0.0/16"] }
`);
  const endpoint = (host: string) => ({
    address: { kind: "tcp" as const, host, port: 90 },
    ...{ weight: 1, priority: 0, labels: {} },
  });
  const found = new Map([["found", [endpoint("a.allowed.test"), endpoint("other.test")]]]);
  assert.deepEqual(
    wantedNames(config, found),
    new Map([
      ["app.test", new Set([80, 81])],
      ["proxy.test", new Set([3128])],
      ["a.allowed.test", new Set([90])],
    ]),
  );
  const anyway = reachableAnyway(config);
  for (
    const [host, port, may] of [
      ["10.0.0.1", 80, true],
      ["10.0.0.1", 81, false],
      ["10.1.2.3", 1, true],
      ["10.2.2.3", 1, true],
      ["10.3.2.3", 1, false],
    ] as const
  ) assert.equal(anyway(host, port), may, `${host}:${port}`);
});
