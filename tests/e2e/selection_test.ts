/** Who of several gets a request, through the program: weights, splits, cookies, hashes, labels, plugins, tiers. */
import assert from "node:assert/strict";
import { configFile } from "../support/config.ts";
import { field, text } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { freePort } from "../support/ports.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";
import { type Member, startMembers, tally } from "./upstream_support.ts";

/** A proxy in front of one group. */
function startGroup(
  endpoints: readonly unknown[],
  balancing: Record<string, unknown> = {},
  more: { plugins?: Record<string, string>; group?: Record<string, unknown>; route?: object } = {},
): Promise<Sluice> {
  return startSluice({
    config: configFile({
      route: { upstream: "group", ...more.route },
      upstreams: [{ name: "group", endpoints, load_balancing: balancing, ...more.group }],
      ...(more.plugins === undefined ? {} : { plugins: {} }),
    }),
    ...(more.plugins === undefined ? {} : { plugins: more.plugins }),
  });
}

function weighed(members: readonly Member[], ...weights: number[]) {
  return members.map(({ address }, i) => ({ address, weight: weights[i] }));
}

Deno.test("requests spread by weight, and weight 0 gets none", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await startMembers(stack, "a", "b", "c");
  for (const policy of ["round_robin", "weighted"]) {
    await using sluice = await startGroup(weighed(members, 3, 1, 0), { policy });
    await using client = await RawClient.connect(sluice.port());
    assert.deepEqual(await tally(client, 200), { a: 150, b: 50 });
  }
  await using sluice = await startGroup(weighed(members, 3, 1, 0), { policy: "random" });
  await using client = await RawClient.connect(sluice.port());
  const { a = 0, b = 0 } = await tally(client, 800);
  assert.equal(a + b, 800);
  // Six standard deviations.
  assert.ok(Math.abs(a - 600) < 75, `${a}`);
});

Deno.test("the policies that count requests leave a slow member alone", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  a.does.delay = 100;
  for (const policy of ["least_connections", "power_of_two", "peak_ewma"]) {
    await using sluice = await startGroup([a.address, b.address], { policy });
    const counts: Record<string, number> = {};
    await Promise.all(Array.from({ length: 4 }, async () => {
      await using client = await RawClient.connect(sluice.port());
      for (const [who, count] of Object.entries(await tally(client, 25))) {
        counts[who] = (counts[who] ?? 0) + count;
      }
    }));
    assert.ok((counts["b"] ?? 0) > 3 * (counts["a"] ?? 0), `${policy}: ${JSON.stringify(counts)}`);
  }
});

Deno.test("a split shares requests by weight, and keeps a client that has a key", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, c] = await startMembers(stack, "a", "b", "c");
  const config = (by: object) =>
    configFile({
      route: {
        split: [
          { upstream: "stable", weight: 80 },
          { upstream: "canary", weight: 20 },
          { upstream: "old", weight: 0 },
        ],
        ...by,
      },
      upstreams: [
        { name: "stable", endpoints: [a.address] },
        { name: "canary", endpoints: [b.address] },
        { name: "old", endpoints: [c.address] },
      ],
    });
  await using drawn = await startSluice({ config: config({}) });
  await using client = await RawClient.connect(drawn.port());
  const counts = await tally(client, 1_000);
  assert.equal((counts["a"] ?? 0) + (counts["b"] ?? 0), 1_000);
  assert.ok(Math.abs((counts["b"] ?? 0) - 200) < 77, JSON.stringify(counts));

  await using keyed = await startSluice({
    config: config({ split_by: { on: "header", name: "X-User" } }),
  });
  await using other = await RawClient.connect(keyed.port());
  let canary = 0;
  for (let i = 0; i < 300; i++) {
    const first = await tally(other, 2, { "X-User": `user-${i}` });
    assert.equal(Object.keys(first).length, 1, `user ${i} is kept: ${JSON.stringify(first)}`);
    if ("b" in first) canary++;
  }
  assert.ok(Math.abs(canary - 60) < 42, `${canary}`);
});

Deno.test("another attempt stays with the part of the split that was drawn", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  a.does.drop = true;
  await using sluice = await startSluice({
    config: configFile({
      route: {
        split: [{ upstream: "one", weight: 1 }, { upstream: "two", weight: 1 }],
        retry: { attempts: 3, on: ["reset"], backoff: { base: "0s", max: "0s" }, budget: "100%" },
      },
      upstreams: [
        { name: "one", endpoints: [a.address] },
        { name: "two", endpoints: [b.address] },
      ],
    }),
  });
  await using client = await RawClient.connect(sluice.port());
  const counts = await tally(client, 60);
  assert.ok((counts["502"] ?? 0) > 5 && (counts["b"] ?? 0) > 5, JSON.stringify(counts));
});

Deno.test("a sticky cookie keeps a client with its member, and moves it only when that is gone", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  await using sluice = await startGroup([a.address, b.address], {
    sticky: { cookie: "seat", secure: false, ttl: "1h" },
  }, {
    route: { retry: { attempts: 1, on: ["reset"], backoff: { base: "0s", max: "0s" } } },
  });
  await using client = await RawClient.connect(sluice.port());
  const first = await client.request(get("/"));
  const set = field(first, "set-cookie")!;
  assert.match(set, /^seat=[A-Za-z0-9_-]+; .*Max-Age=3600/);
  assert.match(set, /HttpOnly/);
  assert.doesNotMatch(set, /Secure/);
  const cookie = { Cookie: `other=1; ${set.split(";")[0]}` };
  const mine = text(first);
  assert.deepEqual(await tally(client, 20, cookie), { [mine]: 20 });
  assert.equal(field(await client.request(get("/", cookie)), "set-cookie"), null);
  assert.deepEqual(await tally(client, 20), { a: 10, b: 10 }, "others take turns");
  assert.deepEqual(Object.keys(await tally(client, 20, { Cookie: "seat=forged" })).length, 2);
  (mine === "a" ? a : b).does.drop = true;
  const moved = await client.request(get("/", cookie));
  assert.equal(moved.status, 200);
  assert.notEqual(text(moved), mine);
  assert.notEqual(field(moved, "set-cookie")?.split(";")[0], set.split(";")[0]);
});

Deno.test("all service workers understand each other's sticky cookies", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  await using sluice = await startSluice({
    threads: 2,
    config: configFile({
      route: { upstream: "group" },
      upstreams: [{
        name: "group",
        endpoints: [a.address, b.address],
        load_balancing: { sticky: { cookie: "seat", secure: false } },
      }],
    }),
  });
  const first = await rawRequest(sluice.port(), get("/"));
  const cookie = { Cookie: field(first, "set-cookie")!.split(";")[0]! };
  for (let i = 0; i < 20; i++) {
    assert.equal(text(await rawRequest(sluice.port(), get("/", cookie))), text(first));
  }
});

Deno.test("a hash of a header, cookie, argument or path keeps equal requests together", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await startMembers(stack, "a", "b", "c");
  const addresses = members.map(({ address }) => address);
  const cases: [Record<string, unknown>, (key: string) => string][] = [
    [{ policy: "header_hash", hash: { name: "X-Key" } }, (key) => get("/", { "X-Key": key })],
    [{ policy: "cookie_hash", hash: { name: "key" } }, (key) => get("/", { Cookie: `key=${key}` })],
    [{ policy: "uri_hash" }, (key) => get(`/${key}`)],
    [{ policy: "ketama", hash: { on: "query", name: "key" } }, (key) => get(`/?key=${key}`)],
  ];
  for (const [balancing, ask] of cases) {
    await using sluice = await startGroup(addresses, balancing);
    await using client = await RawClient.connect(sluice.port());
    const seen = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const who = text(await client.request(ask(`key-${i}`)));
      seen.add(who);
      for (let j = 0; j < 2; j++) assert.equal(text(await client.request(ask(`key-${i}`))), who);
    }
    assert.deepEqual([...seen].sort(), ["a", "b", "c"], JSON.stringify(balancing));
  }
  await using sluice = await startGroup(addresses, { policy: "ip_hash" });
  const who = text(await rawRequest(sluice.port(), get("/")));
  for (let i = 0; i < 6; i++) assert.equal(text(await rawRequest(sluice.port(), get("/"))), who);
});

Deno.test("a plugin chooses a group, a subset, a backend, a key or any allowed peer", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b, c] = await startMembers(stack, "a", "b", "c");
  const chooser = `
    import { definePlugin } from "@sluice/plugin";
    export default definePlugin({
      upstreamPeer(session) {
        const wish = session.request.headers.get("x-wish");
        return wish === null ? undefined : JSON.parse(wish);
      },
    });
  `;
  await using sluice = await startSluice({
    config: configFile({
      route: { upstream: "group", plugins: ["chooser"] },
      upstreams: [
        {
          name: "group",
          endpoints: [
            { address: a.address, labels: { zone: "west", tier: "gold" } },
            { address: b.address, labels: { zone: "east" } },
            { address: c.address, labels: { zone: "east" } },
          ],
        },
        {
          name: "hashing",
          endpoints: [a.address, b.address, c.address],
          load_balancing: { policy: "ketama", hash: { on: "address" } },
        },
      ],
      plugins: {},
    }),
    plugins: { "chooser.ts": chooser },
  });
  await using client = await RawClient.connect(sluice.port());
  const ask = (wish: unknown, count = 12) =>
    tally(client, count, { "X-Wish": JSON.stringify(wish) });
  assert.deepEqual(await tally(client, 12), { a: 4, b: 4, c: 4 });
  assert.deepEqual(await ask("group"), { a: 4, b: 4, c: 4 });
  assert.deepEqual(await ask({ upstream: "group", subset: { zone: "west" } }), { a: 12 });
  assert.deepEqual(await ask({ upstream: "group", subset: { zone: "east" } }), { b: 6, c: 6 });
  const none = await ask({ upstream: "group", subset: { zone: "north" } });
  assert.equal(Object.keys(none).length, 3, "a subset that nobody is in is a wish, not an order");
  assert.deepEqual(await ask({ upstream: "group", backend: c.address }), { c: 12 });
  assert.deepEqual(await ask({ address: b.address }), { b: 12 });
  const kept = await ask({ upstream: "hashing", hashValue: "somebody" });
  assert.equal(Object.keys(kept).length, 1);
  const seen = new Set<string>();
  for (let i = 0; i < 30; i++) {
    for (const who of Object.keys(await ask({ upstream: "hashing", hashValue: `${i}` }, 1))) {
      seen.add(who);
    }
  }
  assert.equal(seen.size, 3);
  assert.deepEqual(await ask({ upstream: "group", backend: "127.0.0.1:1" }, 1), { 500: 1 });
  assert.deepEqual(await ask({ upstream: "nobody" }, 1), { 500: 1 });
  await sluice.waitForOutput(/"127\.0\.0\.1:1" is no member of upstream "group"/);
  await sluice.waitForOutput(/there is no upstream "nobody"/);
});

Deno.test("members of a preferred subset are asked, and the others when too few of them work", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  await using sluice = await startGroup(
    [
      { address: a.address, labels: { zone: "here" } },
      { address: b.address, labels: { zone: "there" } },
    ],
    { subset: { zone: "here" } },
    {
      group: { health_check: { passive: { consecutive_failures: 2, max_ejected: "100%" } } },
      route: { retry: { attempts: 1, on: ["reset"], backoff: { base: "0s", max: "0s" } } },
    },
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 10), { a: 10 });
  a.does.drop = true;
  const counts = await tally(client, 20);
  assert.deepEqual(counts, { b: 20 });
});

Deno.test("backups are asked when the others are out, by priority, and the log says so", async () => {
  await using stack = new AsyncDisposableStack();
  const [a, b] = await startMembers(stack, "a", "b");
  const dead = `127.0.0.1:${freePort()}`;
  await using sluice = await startGroup(
    [
      a.address,
      { address: dead, priority: 1 },
      { address: b.address, backup: true },
    ],
    { panic_threshold: "50%" },
    {
      group: {
        health_check: {
          passive: { consecutive_failures: 2, max_ejected: "100%", eject: "10s" },
        },
      },
      route: {
        retry: {
          attempts: 2,
          on: ["reset", "connect_failure"],
          backoff: { base: "0s", max: "0s" },
        },
      },
    },
  );
  await using client = await RawClient.connect(sluice.port());
  assert.deepEqual(await tally(client, 10), { a: 10 });
  a.does.drop = true;
  assert.deepEqual(await tally(client, 20), { b: 20 });
  await sluice.waitForOutput(/Upstream group: members of priority 1 serve/);
  await sluice.waitForOutput(/Upstream group: members of priority [2-9]\d* serve/);
});
