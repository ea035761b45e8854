/** Certificates of plugins: asked for once, kept for a while, and never asked for faster than agreed. */
import assert from "node:assert/strict";
import type { ProxyError } from "../../src/base/error.ts";
import type { CertificateHookConfig } from "../../src/config/types_listeners.ts";
import type { CertificateAnswer } from "../../src/plugin/certificate.ts";
import { CertificateLookup } from "../../src/service/certificate_lookup.ts";
import { LookupBudget } from "../../src/service/lookup_budget.ts";
import { Authority } from "../support/authority.ts";
import { eventually } from "../support/deadline.ts";
import { testWith } from "../support/require.ts";

type Answer = CertificateAnswer | undefined | Error | Promise<never>;

/** A lookup whose plugin answers as told, and whose clock stands still. */
class Bench implements Disposable {
  readonly authority = new Authority();
  readonly asked: string[] = [];
  readonly errors: string[] = [];
  now = Date.now();
  needed = true;
  answer: (host: string) => Answer = (host) => this.authority.sign(host);
  readonly lookup: CertificateLookup;

  constructor(settings: Partial<CertificateHookConfig> = {}) {
    this.lookup = new CertificateLookup({
      listener: "web",
      settings: {
        timeout: 1000,
        ttl: 60_000,
        negativeTtl: 5_000,
        maxNames: 3,
        lookupsPerSecond: 1000,
        lookupsPerClient: 1000,
        ...settings,
      },
      needed: () => this.needed,
      ask: async ({ serverName, listener }) => {
        assert.equal(listener, "web");
        this.asked.push(serverName);
        await Promise.resolve();
        const answer = await this.answer(serverName);
        if (answer instanceof Error) throw answer;
        return answer;
      },
      onError: (error: ProxyError) => this.errors.push(error.message),
      now: () => this.now,
    });
  }

  find(host: string, client: string | null = "192.0.2.1") {
    return this.lookup.find(host, client);
  }

  [Symbol.dispose](): void {
    this.authority[Symbol.dispose]();
  }
}

testWith(
  ["openssl"],
  "a name is asked for once, by however many clients, and kept for its time",
  async () => {
    using bench = new Bench();
    const all = await Promise.all(Array.from({ length: 20 }, () => bench.find("a.test")));
    assert.ok(all.every((one) => one !== null && one === all[0]));
    assert.deepEqual(all[0]!.names, ["a.test"]);
    bench.now += 59_999;
    assert.equal(await bench.find("a.test"), all[0]);
    assert.deepEqual(bench.asked, ["a.test"]);
    // What is old is shown while a new one is asked for.
    bench.now += 1;
    assert.equal(await bench.find("a.test"), all[0]);
    await eventually(async () => await bench.find("a.test") !== all[0], "the new one");
    assert.deepEqual(bench.asked, ["a.test", "a.test"]);
  },
);

testWith(
  ["openssl"],
  "that there is none is remembered, too, and does not drive certificates out",
  async () => {
    using bench = new Bench();
    const kept = await bench.find("a.test");
    bench.answer = () => undefined;
    for (let i = 0; i < 50; i++) assert.equal(await bench.find(`no${i}.test`), null);
    assert.equal(await bench.find("no49.test"), null);
    assert.equal(bench.asked.length, 51);
    assert.equal(await bench.find("a.test"), kept);
    bench.now += 5_000;
    assert.equal(await bench.find("no49.test"), null);
    assert.equal(bench.asked.length, 52);
    // Of the oldest nothing was left: memory is bounded by max_names.
    await bench.find("no1.test");
    assert.equal(bench.asked.length, 53);
    // A clock that was set back takes nothing away that was there.
    bench.now -= 3_600_000;
    assert.equal(await bench.find("new.test"), null);
    assert.equal(bench.asked.length, 54);
  },
);

testWith(["openssl"], "the certificate that was not asked for longest goes first", async () => {
  using bench = new Bench();
  for (const host of ["a.test", "b.test", "c.test"]) await bench.find(host);
  await bench.find("a.test");
  await bench.find("d.test");
  bench.asked.length = 0;
  for (const host of ["a.test", "c.test", "d.test"]) await bench.find(host);
  assert.deepEqual(bench.asked, []);
  await bench.find("b.test");
  assert.deepEqual(bench.asked, ["b.test"]);
});

testWith(
  ["openssl"],
  "names are asked for no faster than agreed, and the rest gets none",
  async () => {
    using bench = new Bench({ lookupsPerSecond: 5 });
    bench.answer = () => undefined;
    for (let i = 0; i < 100; i++) assert.equal(await bench.find(`${i}.test`), null);
    assert.equal(bench.asked.length, 5);
    assert.match(bench.errors[0]!, /lookups_per_second/);
    bench.now += 400;
    for (let i = 100; i < 200; i++) await bench.find(`${i}.test`);
    assert.equal(bench.asked.length, 7);
    // Names that were not asked for are not remembered as missing.
    bench.now += 1000;
    await bench.find("50.test");
    assert.equal(bench.asked.at(-1), "50.test");
  },
);

testWith(
  ["openssl"],
  "a failure ends handshakes for a while, and an old certificate outlives it",
  async () => {
    using bench = new Bench();
    const kept = await bench.find("a.test");
    bench.answer = () => new Error("no authority");
    await assert.rejects(bench.find("b.test"), /no authority/);
    await assert.rejects(bench.find("b.test"), /no authority/);
    assert.equal(bench.asked.length, 2);
    bench.now += 60_000;
    assert.equal(await bench.find("a.test"), kept);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await bench.find("a.test"), kept);
    assert.equal(bench.asked.length, 3, "it is not asked for again at once");
  },
);

testWith(["openssl"], "what cannot be shown is a failure with the reason", async () => {
  using bench = new Bench({ timeout: 100 });
  using other = new Authority();
  const good = bench.authority.sign("x.test");
  const cases: [Answer, RegExp][] = [
    [{ cert: "x", key: good.key }, /its cert cannot be used: it holds no certificate/],
    [{ cert: good.cert, key: other.sign("x.test").key }, /its key cannot be used.*another/],
    [bench.authority.sign("y.test"), /it is for y\.test/],
    [new Promise<never>(() => {}), /no answer within 100 ms/],
  ];
  for (const [i, [answer, words]] of cases.entries()) {
    bench.answer = () => answer;
    await assert.rejects(bench.find(`${i}.x.test`), words);
  }
  assert.equal(bench.errors.length, 4);
  bench.needed = false;
  assert.equal(await bench.find("z.test"), null);
});

testWith(
  ["openssl"],
  "made-up names of one client leave lookups for others, and names that were found need none",
  async () => {
    using bench = new Bench({ lookupsPerSecond: 8, lookupsPerClient: 2, maxNames: 100 });
    const kept = await bench.find("a.test", "192.0.2.1");
    bench.now += 1_000;
    bench.answer = () => undefined;
    // One who has a whole /64 of addresses is one client, and so is one whose IPv4 address is written as IPv6.
    for (let i = 0; i < 50; i++) {
      await bench.find(`x${i}.test`, `2001:db8:0:1:${i.toString(16)}::1`);
      await bench.find(`y${i}.test`, i % 2 === 0 ? "203.0.113.7" : "::ffff:203.0.113.7");
    }
    assert.equal(bench.asked.length, 1 + 2 + 2);
    assert.match(bench.errors[0]!, /2001:db8:0:1::\/64 asks for too many.*lookups_per_client/);
    assert.ok(bench.errors.some((one) => /"y\d+\.test": 203\.0\.113\.7 asks/.test(one)));
    assert.equal(await bench.find("a.test", "203.0.113.7"), kept);
    bench.answer = (host) => bench.authority.sign(host);
    assert.notEqual(await bench.find("b.test", "192.0.2.1"), null);
    assert.notEqual(await bench.find("c.test", "2001:db8:0:2::1"), null);
    // Together they still get no more than all may have.
    for (let i = 0; i < 20; i++) await bench.find(`z${i}.test`, `198.51.100.${i}`);
    assert.equal(bench.asked.length, 1 + 8);
    assert.match(bench.errors.at(-1)!, /lookups_per_second/);
    assert.equal(await bench.find("a.test", "198.51.100.99"), kept);
    bench.now += 500;
    assert.notEqual(await bench.find("d.test", "203.0.113.7"), null);
    assert.equal(await bench.find("e.test", "203.0.113.7"), null);
  },
);

Deno.test("the clients that a budget remembers are no more than could ask", () => {
  let now = 1_000_000;
  const budget = new LookupBudget({ lookupsPerSecond: 10, lookupsPerClient: 0.5 }, () => now);
  let most = 0;
  for (let i = 0; i < 20_000; i++) {
    now += 7;
    budget.take(`client ${i}`);
    most = Math.max(most, budget.clients);
  }
  // A client is remembered for two seconds, in each of which ten can ask.
  assert.ok(most <= 10 + 2 * 10, String(most));
  now += 2_000;
  assert.equal(budget.take(null), null);
  assert.equal(budget.clients, 0);
  // A clock that is set back takes nothing away for long.
  budget.take("a");
  now -= 3_600_000;
  assert.equal(budget.take("b"), null);
});

testWith(
  ["openssl"],
  "new names, however many, do not keep known ones from being asked for again",
  async () => {
    using bench = new Bench({ lookupsPerSecond: 4, maxNames: 100 });
    for (const host of ["a.test", "b.test"]) await bench.find(host);
    bench.now += 60_000;
    const answer = bench.answer;
    bench.answer = () => undefined;
    for (let i = 0; i < 50; i++) await bench.find(`x${i}.test`, `192.0.2.${i}`);
    assert.equal(bench.asked.length, 2 + 4);
    bench.answer = answer;
    for (const host of ["a.test", "b.test"]) assert.notEqual(await bench.find(host), null);
    assert.deepEqual(bench.asked.slice(6), ["a.test", "b.test"]);
    await new Promise((resolve) => setTimeout(resolve, 0));
    // What they took is made up for by new names.
    bench.now += 500;
    assert.equal(await bench.find("y.test"), null);
    assert.equal(bench.asked.length, 8);
    bench.now += 250;
    assert.notEqual(await bench.find("z.test"), null);
  },
);

Deno.test("known names are asked for no faster than twice what was agreed, and on average no faster", () => {
  let now = 0;
  const budget = new LookupBudget({ lookupsPerSecond: 10, lookupsPerClient: 10 }, () => now);
  let renewed = 0;
  for (let i = 0; i < 10_000; i++) {
    now++;
    if (budget.renew() === null) renewed++;
  }
  assert.ok(renewed <= 10 * 10 + 2 * 10, String(renewed));
  assert.ok(renewed >= 10 * 10, String(renewed));
  assert.equal(budget.take(null), "all");
});
