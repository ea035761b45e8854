/**
 * The cache of names over a source that answers when the test says so, on a clock that stands still.
 *
 * @module
 */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../src/base/clock.ts";
import { ProxyError } from "../../src/base/error.ts";
import {
  dnsError,
  HostResolver,
  type HostResolverOptions,
  type NameAnswer,
} from "../../src/transport/resolver.ts";

const WAIT = { timeout: 5_000 };

Deno.test("an answer holds for its TTL, and is asked for once", async () => {
  const { resolver, clock, asked } = make();
  const found = resolver.resolve("A.test", WAIT);
  equal(resolver.stats().asking, 1);
  await asked[0]!.answer(30_000, "192.0.2.1", "192.0.2.2");
  deepEqual(await found, ["192.0.2.1", "192.0.2.2"]);
  clock.advance(29_999);
  deepEqual(resolver.resolve("a.TEST", WAIT), ["192.0.2.1", "192.0.2.2"], "at once");
  equal(asked.length, 1);
  const { hits, lookups, failures, names } = resolver.stats();
  equal(`${hits} ${lookups} ${failures} ${names}`, "1 1 0 1");
});

Deno.test("an IP literal is its own address", () => {
  const { resolver, asked } = make();
  deepEqual(resolver.resolve("192.0.2.1", WAIT), ["192.0.2.1"]);
  deepEqual(resolver.resolve("::1", WAIT), ["::1"]);
  equal(asked.length, 0);
});

Deno.test("TTLs are clamped", async () => {
  for (const [ttl, holds] of [[0, 1_000], [NaN, 1_000], [1e12, 3_600_000]] as const) {
    const { resolver, clock, asked } = make({ staleTime: 0 });
    const found = resolver.resolve("a.test", WAIT);
    await asked[0]!.answer(ttl, "192.0.2.1");
    await found;
    clock.advance(holds - 1);
    ok(!(resolver.resolve("a.test", WAIT) instanceof Promise));
    clock.advance(1);
    const again = resolver.resolve("a.test", WAIT);
    ok(again instanceof Promise);
    await asked[1]!.answer(ttl, "192.0.2.1");
    await again;
  }
});

Deno.test("look-ups of one name at a time are one look-up", async () => {
  const { resolver, asked } = make();
  const all = Array.from({ length: 50 }, () => resolver.resolve("a.test", WAIT));
  await turns();
  equal(asked.length, 1);
  await asked[0]!.answer(1_000, "192.0.2.1");
  for (const one of all) deepEqual(await one, ["192.0.2.1"]);
});

Deno.test("an answer that has run out is given out while a new one is asked for", async () => {
  const { resolver, clock, asked } = make({ staleTime: 10_000 });
  const first = resolver.resolve("a.test", WAIT);
  await asked[0]!.answer(1_000, "192.0.2.1");
  await first;
  clock.advance(5_000);
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.1"]);
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.1"]);
  await turns();
  equal(asked.length, 2);
  await asked[1]!.answer(1_000, "192.0.2.9");
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.9"]);
  clock.advance(11_000);
  const late = resolver.resolve("a.test", WAIT);
  ok(late instanceof Promise, "too old to be given out unasked");
  await asked[2]!.answer(1_000, "192.0.2.10");
  deepEqual(await late, ["192.0.2.10"]);
});

Deno.test("a failure holds for a while, and each request gets an error of its own", async () => {
  const { resolver, clock, asked } = make({ negativeTtl: 5_000 });
  const found = resolver.resolve("a.test", WAIT);
  const failing = rejects(found as Promise<unknown>, {
    type: "dns_error",
    message: "no such host",
  });
  await asked[0]!.fail(dnsError("dns_error", "no such host"));
  await failing;
  const errors: unknown[] = [];
  for (let i = 0; i < 2; i++) {
    throws(() => resolver.resolve("a.test", WAIT), (error) => {
      errors.push(error);
      return error instanceof ProxyError && error.type === "dns_error" && error.retry === true;
    });
  }
  ok(errors[0] !== errors[1]);
  equal(asked.length, 1);
  clock.advance(5_000);
  const again = resolver.resolve("a.test", WAIT);
  await asked[1]!.answer(1_000, "192.0.2.1");
  deepEqual(await again, ["192.0.2.1"]);
});

Deno.test("when no new answer can be had the last one stays for a while, and nobody waits", async () => {
  const { resolver, clock, asked } = make({
    staleTime: 1_000,
    keepTime: 60_000,
    negativeTtl: 5_000,
  });
  const first = resolver.resolve("a.test", WAIT);
  await asked[0]!.answer(1_000, "192.0.2.1");
  await first;
  clock.advance(10_000);
  const waited = resolver.resolve("a.test", WAIT);
  await asked[1]!.fail(dnsError("dns_timeout", "no server"));
  deepEqual(await waited, ["192.0.2.1"]);
  for (let at = 10; at < 60; at += 10) {
    deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.1"], `after ${at} s`);
    await turns();
    await asked.at(-1)!.fail(dnsError("dns_timeout", "no server"));
    clock.advance(10_000);
  }
  clock.advance(5_000);
  const last = resolver.resolve("a.test", WAIT);
  const failing = rejects(last as Promise<unknown>, { type: "dns_timeout" });
  await asked.at(-1)!.fail(dnsError("dns_timeout", "no server"));
  await failing;
});

Deno.test("who waits too long gets dns_timeout, or the last answer if there is one", async () => {
  const { resolver, clock, asked } = make({ staleTime: 0 });
  await rejects(resolver.resolve("a.test", { timeout: 10 }) as Promise<unknown>, {
    type: "dns_timeout",
    source: "upstream",
  });
  await asked[0]!.answer(1_000, "192.0.2.1");
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.1"], "the answer came after all");
  clock.advance(2_000);
  deepEqual(await resolver.resolve("a.test", { timeout: 10 }), ["192.0.2.1"]);
  await asked[1]!.answer(1_000, "192.0.2.2");
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.2"]);
});

Deno.test("who gives up waits no longer, and the others get the answer", async () => {
  const { resolver, asked } = make();
  const abort = new AbortController();
  const reason = new ProxyError("client_closed", "gone");
  const gone = resolver.resolve("a.test", { ...WAIT, signal: abort.signal });
  const other = resolver.resolve("a.test", WAIT);
  const failing = rejects(gone as Promise<unknown>, reason);
  abort.abort(reason);
  await failing;
  await asked[0]!.answer(1_000, "192.0.2.1");
  deepEqual(await other, ["192.0.2.1"]);
});

Deno.test("names and look-ups are bounded", async () => {
  const { resolver, asked } = make({ maxNames: 3, maxAsking: 2, maxAddresses: 2 });
  const two = ["a.test", "b.test"].map((name) => resolver.resolve(name, WAIT));
  await rejects(resolver.resolve("c.test", WAIT) as Promise<unknown>, {
    type: "dns_error",
    message: /2 names are being looked up already/,
  });
  for (const one of asked) await one.answer(1_000, "192.0.2.1", "192.0.2.2", "192.0.2.3");
  deepEqual(await two[0], ["192.0.2.1", "192.0.2.2"]);
  await two[1];
  for (const name of ["c.test", "d.test", "e.test"]) {
    const found = resolver.resolve(name, WAIT);
    await asked.at(-1)!.answer(1_000, "192.0.2.1");
    await found;
    ok(resolver.stats().names <= 3);
  }
  const again = resolver.resolve("a.test", WAIT);
  ok(again instanceof Promise, "it was forgotten");
  await asked.at(-1)!.answer(1_000, "192.0.2.1");
  await again;
});

Deno.test("what is no host name is not asked for, and not remembered", async () => {
  const { resolver, asked } = make();
  for (const name of ["", "a b", "a\0b", "x".repeat(255), "é.test", "a\r\nb"]) {
    await rejects(resolver.resolve(name, WAIT) as Promise<unknown>, { type: "dns_error" });
  }
  equal(asked.length, 0);
  equal(resolver.stats().names, 0);
});

Deno.test("a source that answers with nothing, or throws, is dns_error", async () => {
  const { resolver, asked } = make();
  const empty = rejects(resolver.resolve("a.test", WAIT) as Promise<unknown>, {
    type: "dns_error",
    message: /no address/,
  });
  await asked[0]!.answer(1_000);
  await empty;
  const broken = new HostResolver({
    source: () => {
      throw new Error("broken");
    },
  });
  await rejects(broken.resolve("a.test", WAIT) as Promise<unknown>, {
    type: "dns_error",
    message: /broken/,
  });
});

Deno.test("forget asks again", async () => {
  const { resolver, asked } = make();
  for (const name of ["a.test", undefined]) {
    const found = resolver.resolve("a.test", WAIT);
    await asked.at(-1)!.answer(60_000, "192.0.2.1");
    await found;
    resolver.forget(name);
    equal(resolver.stats().names, 0);
  }
});

Deno.test("whatever the source does: bounded, merged, and never an answer older than it may be", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.tuple(
          fc.constantFrom("resolve", "answer", "fail", "pass"),
          fc.nat(5),
          fc.nat(20_000),
        ),
        { maxLength: 60 },
      ),
      async (steps) => {
        const { resolver, clock, asked } = make({
          maxNames: 3,
          maxAsking: 3,
          staleTime: 5_000,
          keepTime: 20_000,
        });
        const open = () => asked.filter((one) => !one.done);
        const waiting: Promise<unknown>[] = [];
        for (const [step, number, ms] of steps) {
          if (step === "pass") clock.advance(ms);
          else if (step === "answer") await open()[number]?.answer(ms, `192.0.2.${clock.now()}`);
          else if (step === "fail") await open()[number]?.fail(dnsError("dns_error", "no"));
          else {
            try {
              const found = resolver.resolve(`n${number}.test`, WAIT);
              if (found instanceof Promise) waiting.push(found.catch(() => {}));
              else {
                // The source puts the time into its answers.
                const made = Number(found[0]!.slice(8));
                ok(clock.now() - made < 20_000 + 20_000 + 1_000, found[0]);
              }
            } catch (error) {
              ok(error instanceof ProxyError && error.type === "dns_error");
            }
            await turns();
          }
          const stats = resolver.stats();
          ok(stats.asking <= 3 && stats.names <= 6);
          equal(stats.asking, open().length);
          equal(new Set(open().map((one) => one.host)).size, open().length);
        }
        for (const one of open()) await one.fail(dnsError("dns_error", "no"));
        await Promise.all(waiting);
        equal(resolver.stats().asking, 0);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("addresses that are put hold until others are, and nobody asks", async () => {
  const { resolver, clock, asked } = make({ maxNames: 2 });
  resolver.put("A.test", ["192.0.2.1"]);
  clock.advance(1e9);
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.1"]);
  resolver.put("a.test", ["192.0.2.2"]);
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.2"]);
  equal(asked.length, 0);
  // Many other names do not push it out.
  for (let i = 0; i < 5; i++) {
    const found = resolver.resolve(`${i}.test`, WAIT);
    await asked[i]!.answer(1_000, "192.0.2.9");
    await found;
  }
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.2"]);
  resolver.put("a.test", []);
  ok(resolver.resolve("a.test", WAIT) instanceof Promise);
  await asked[5]!.answer(1_000, "192.0.2.3");
});

Deno.test("an answer that was asked for before does not undo what is put", async () => {
  const { resolver, asked } = make();
  const found = resolver.resolve("a.test", WAIT);
  resolver.put("a.test", ["192.0.2.2"]);
  await asked[0]!.answer(1_000, "192.0.2.1");
  deepEqual(await found, ["192.0.2.2"]);
  deepEqual(resolver.resolve("a.test", WAIT), ["192.0.2.2"]);
});

interface Asked {
  readonly host: string;
  done: boolean;
  answer(ttl: number, ...addresses: string[]): Promise<void>;
  fail(error: ProxyError): Promise<void>;
}

function make(options: Partial<HostResolverOptions> = {}) {
  const clock = new ManualClock();
  const asked: Asked[] = [];
  const resolver = new HostResolver({
    clock,
    source: (host) => {
      const { promise, resolve, reject } = Promise.withResolvers<NameAnswer>();
      const one: Asked = {
        host,
        done: false,
        answer: async (ttl, ...addresses) => {
          one.done = true;
          resolve({ addresses, ttl });
          await turns();
        },
        fail: async (error) => {
          one.done = true;
          reject(error);
          await turns();
        },
      };
      asked.push(one);
      return promise;
    },
    ...options,
  });
  return { resolver, clock, asked };
}

async function turns(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}
