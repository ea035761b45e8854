import assert from "node:assert/strict";
import fc from "fast-check";
import { serveOrigin, startWithPlugin } from "../../tests/support/first_party.ts";
import { cookieValue, pickShare, pointOf } from "./assignment.ts";
import plugin from "./mod.ts";

Deno.test("pickShare() gives each group its share, in order", () => {
  const shares = [{ upstream: "a", weight: 90 }, { upstream: "b", weight: 10 }];
  assert.equal(pickShare(shares, 0), "a");
  assert.equal(pickShare(shares, 0.8999), "a");
  assert.equal(pickShare(shares, 0.9), "b");
  assert.equal(pickShare(shares, 0.9999), "b");
});

Deno.test("pickShare() never gives a group of weight 0, and null if there is no other", () => {
  const share = fc.record({ upstream: fc.string(), weight: fc.integer({ min: 0, max: 3 }) });
  const point = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(fc.property(fc.array(share, { maxLength: 6 }), point, (shares, point) => {
    const picked = pickShare(shares, point);
    if (shares.every(({ weight }) => weight === 0)) assert.equal(picked, null);
    else assert.ok(shares.some(({ upstream, weight }) => upstream === picked && weight > 0));
  }));
});

Deno.test("a group that grows takes clients, and gives none of its own away", () => {
  for (let i = 0; i < 1000; i++) {
    const point = pointOf(`10.0.${i >> 8}.${i & 255}`);
    const before = pickShare([{ upstream: "a", weight: 95 }, { upstream: "b", weight: 5 }], point);
    const after = pickShare([{ upstream: "a", weight: 80 }, { upstream: "b", weight: 20 }], point);
    if (before === "b") assert.equal(after, "b");
  }
});

Deno.test("pointOf() spreads neighbouring addresses evenly", () => {
  const buckets = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const point = pointOf(` 192.168.${i >> 8}.${i & 255}`);
    assert.ok(point >= 0 && point < 1);
    buckets[Math.floor(point * 10)]!++;
  }
  for (const count of buckets) assert.ok(count > 850 && count < 1150, `found ${buckets}`);
});

Deno.test("cookieValue() finds the cookie of that name", () => {
  assert.equal(cookieValue(null, "a"), null);
  assert.equal(cookieValue("a=1; b=2", "b"), "2");
  assert.equal(cookieValue("a=1;b=2, c=3", "c"), "3");
  assert.equal(cookieValue("ab=1", "b"), null);
  assert.equal(cookieValue("a=1; a=2", "a"), "1");
  assert.equal(cookieValue("=;;a", "a"), null);
  fc.assert(fc.property(fc.string(), (field) => {
    cookieValue(field, "a");
  }));
});

Deno.test("a config that could choose nobody is refused", async () => {
  const check = async (value: unknown) =>
    (await plugin.config!["~standard"].validate(value)).issues?.map(({ message }) => message);
  assert.equal(await check({}), undefined);
  assert.deepEqual(await check({ groups: [{ upstream: "a", weight: 0 }] }), [
    "every weight is 0, so that no group could be chosen",
  ]);
  assert.deepEqual(
    await check({ groups: [{ upstream: "a", weight: 1 }, { upstream: "a", weight: 1 }] }),
    ['"a" is listed twice'],
  );
  assert.equal((await check({ groups: [{ upstream: "a;b", weight: 1 }] }))?.length, 1);
});

Deno.test("clients are shared out, and a cookie keeps each with its group", async () => {
  await using stable = serveOrigin(() => new Response("stable"));
  await using next = serveOrigin(() => new Response("next"));
  await using sluice = await startWithPlugin({
    plugin: "canary",
    with: {
      groups: [{ upstream: "stable", weight: 50 }, { upstream: "next", weight: 50 }],
      cookie: { name: "release", max_age: 60 },
    },
    upstreams: { stable: stable.port, next: next.port },
  });
  const counts: Record<string, number> = { stable: 0, next: 0 };
  for (let i = 0; i < 60; i++) {
    const response = await fetch(sluice.url);
    const group = await response.text();
    counts[group]!++;
    assert.equal(
      response.headers.get("set-cookie"),
      `release=${group}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax`,
    );
    const again = await fetch(sluice.url, { headers: { cookie: `x=1; release=${group}` } });
    assert.equal(await again.text(), group);
    assert.equal(again.headers.get("set-cookie"), null);
  }
  // Fewer than one in 10^8 runs would fall outside of this by chance.
  assert.ok(counts["stable"]! > 6 && counts["next"]! > 6, JSON.stringify(counts));
});

Deno.test("a cookie for a group that gets nobody, or that is unknown, is not honoured", async () => {
  await using stable = serveOrigin(() => new Response("stable"));
  await using next = serveOrigin(() => new Response("next"));
  await using sluice = await startWithPlugin({
    plugin: "canary",
    with: { groups: [{ upstream: "stable", weight: 1 }, { upstream: "next", weight: 0 }] },
    upstreams: { stable: stable.port, next: next.port },
  });
  for (const asked of ["next", "http://169.254.169.254"]) {
    const response = await fetch(sluice.url, { headers: { cookie: `sluice-canary=${asked}` } });
    assert.equal(await response.text(), "stable");
    assert.match(response.headers.get("set-cookie") ?? "", /^sluice-canary=stable;/);
  }
});

Deno.test("with sticky: client, the address decides and nothing is stored", async () => {
  await using a = serveOrigin(() => new Response("a"));
  await using b = serveOrigin(() => new Response("b"));
  await using sluice = await startWithPlugin({
    plugin: "canary",
    with: {
      groups: [{ upstream: "a", weight: 1 }, { upstream: "b", weight: 1 }],
      sticky: "client",
      salt: "s",
    },
    upstreams: { a: a.port, b: b.port },
    listener: { trusted_proxies: ["127.0.0.0/8"] },
  });
  const answers = new Set<string>();
  for (let i = 1; i <= 20; i++) {
    const address = `203.0.113.${i}`;
    const response = await fetch(sluice.url, { headers: { "x-forwarded-for": address } });
    const group = await response.text();
    assert.equal(group, pointOf(`s ${address}`) < 0.5 ? "a" : "b");
    assert.equal(response.headers.get("set-cookie"), null);
    answers.add(group);
  }
  assert.equal(answers.size, 2);
});

Deno.test("without groups, the route's upstream is asked", async () => {
  await using origin = serveOrigin(() => new Response("own"));
  await using sluice = await startWithPlugin({
    plugin: "canary",
    upstreams: { main: origin.port },
  });
  const response = await fetch(sluice.url);
  assert.equal(await response.text(), "own");
  assert.equal(response.headers.get("set-cookie"), null);
});
