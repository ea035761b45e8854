import assert from "node:assert/strict";
import { UpstreamGroup } from "../../src/balancer/group.ts";
import { noHealth } from "../../src/balancer/health_view.ts";
import { SELECTIONS } from "../../src/balancer/selection/table.ts";
import { POLICIES } from "../../src/config/schema_balancing.ts";
import { createPeer } from "../../src/connector/peer.ts";
import { systemClock } from "../../src/base/clock.ts";
import { configOf, oneUpstream, rawErrors, refuses } from "./support.ts";

const balancing = (text: string) => oneUpstream(`load_balancing: { ${text} }`);

async function read(text: string) {
  return (await configOf(balancing(text))).upstreams[0]!.balancing;
}

Deno.test("an upstream that says nothing takes turns, and panics under half", async () => {
  assert.deepEqual(await read(""), {
    policy: "round_robin",
    hashKey: null,
    sticky: null,
    subset: null,
    panicThreshold: 0.5,
    slowStart: null,
  });
});

Deno.test("every algorithm of the balancer can be named, and every name leads to one", async () => {
  for (const policy of Object.keys(SELECTIONS)) {
    assert.equal((await read(`policy: ${policy}, ${hashFor(policy)}`)).policy, policy);
  }
  for (const [name, { policy }] of Object.entries(POLICIES)) {
    assert.equal((await read(`policy: ${name}, ${hashFor(name)}`)).policy, policy);
  }
});

function hashFor(name: string): string {
  if (name === "hash" || name === "ketama") return "hash: { on: uri }";
  return name === "header_hash" || name === "cookie_hash" ? "hash: { name: x }" : "";
}

Deno.test("what is hashed comes from the policy or from hash", async () => {
  const cases: [string, unknown][] = [
    ["policy: ip_hash", { kind: "client_address" }],
    ["policy: uri_hash", { kind: "uri" }],
    ["policy: header_hash, hash: { name: X-User }", { kind: "header", name: "x-user" }],
    ["policy: cookie_hash, hash: { name: Sid }", { kind: "cookie", name: "Sid" }],
    ["policy: cookie_hash, hash: { on: cookie, name: s }", { kind: "cookie", name: "s" }],
    ["policy: hash, hash: { on: path }", { kind: "path" }],
    ["policy: ketama, hash: { on: query, name: id }", { kind: "query", name: "id" }],
    ["policy: ketama, hash: { on: address }", { kind: "client_address" }],
    ["policy: random", null],
  ];
  for (const [text, key] of cases) assert.deepEqual((await read(text)).hashKey, key, text);
});

Deno.test("a hash that nobody could compute is refused", async () => {
  const cases: [string, RegExp][] = [
    ["policy: hash", /the policy hash hashes, but nothing says what/],
    ["policy: ketama", /the policy ketama hashes, but nothing says what/],
    ["policy: header_hash", /nothing says what/],
    ["policy: header_hash, hash: {}", /which header to hash/],
    ["policy: hash, hash: {}", /nothing says what to hash/],
    ["policy: hash, hash: { on: query }", /which argument to hash/],
    ["policy: hash, hash: { on: header, name: 'a b' }", /"a b" is no name of a header/],
    ["policy: hash, hash: { on: query, name: 'a=b' }", /is no name of an argument/],
    ["policy: hash, hash: { on: uri, name: x }", /name means nothing for uri/],
    ["policy: ip_hash, hash: { on: uri }", /hashes the address, not the uri/],
    ["policy: random, hash: { on: uri }", /the policy random hashes nothing/],
    ["policy: hash, hash: { on: ip }", /found "ip", did you mean "address"/],
    ["policy: maglev", /found "maglev", did you mean "ketama"/],
    ["policy: p3c", /did you mean "p2c"/],
    ["policy: ewma", /did you mean "peak_ewma"/],
  ];
  for (const [text, words] of cases) await refuses(balancing(text), words);
});

Deno.test("an error about the policy stands under the policy", async () => {
  const [error] = await rawErrors(balancing("policy: ketama"));
  assert.equal(error!.source.slice(error!.column - 1, error!.column - 1 + error!.length), "policy");
  assert.match(error!.remedy, /add hash: \{ on: address \}/);
});

Deno.test("sticky sessions get a safe cookie, which the balancer takes", async () => {
  const { sticky } = await read("sticky: { cookie: route, ttl: 1500ms, secret: 0123456789abcdef }");
  assert.deepEqual(sticky, {
    cookie: "route",
    secret: "0123456789abcdef",
    path: "/",
    maxAge: 2,
    secure: true,
    sameSite: "Lax",
  });
  const plain = (await read("sticky: { cookie: r, secure: false, same_site: strict }")).sticky!;
  assert.equal(plain.secret, null);
  assert.equal("maxAge" in plain, false);
  assert.equal(plain.sameSite, "Strict");
  const config = await configOf(balancing("slow_start: 30s, panic_threshold: 0%"));
  const upstream = config.upstreams[0]!;
  const group = new UpstreamGroup({
    ...upstream.balancing,
    name: upstream.name,
    endpoints: upstream.endpoints,
    makePeer: ({ address }) => createPeer({ address, options: upstream.options }),
    health: noHealth(),
    clock: systemClock,
    sticky: { ...sticky!, secret: sticky!.secret! },
  });
  const [backend] = group.backends;
  assert.equal(group.fromSticky(group.stickyValue(backend!)!), backend);
  assert.deepEqual(upstream.balancing.slowStart, { window: 30_000, minimum: 0.1, aggression: 1 });
});

Deno.test("sticky sessions that would not work are refused", async () => {
  const cases: [string, RegExp][] = [
    ["policy: ketama, hash: { on: uri }, sticky: { cookie: r }", /sticky would overrule it/],
    ["policy: ip_hash, sticky: { cookie: r }", /sticky would overrule it/],
    ["sticky: { cookie: r, secure: false, same_site: none }", /browsers drop a cookie/],
    ["sticky: { cookie: 'a b' }", /the name of a cookie, found "a b"/],
    ["sticky: { cookie: r, secret: short }", /fewer than 16 characters/],
    ["sticky: {}", /"cookie" is missing/],
    ["sticky: { cookie: r, same_site: Lax }", /did you mean "lax"/],
  ];
  for (const [text, words] of cases) await refuses(balancing(text), words);
});

Deno.test("a subset must be borne by an endpoint", async () => {
  const text = (subset: string) =>
    oneUpstream(`load_balancing: { subset: ${subset} }`).replace(
      '["10.0.0.1:1"]',
      '["a:1", { address: "b:1", labels: { zone: a, v: "2" } }]',
    );
  assert.deepEqual((await configOf(text("{ zone: a }"))).upstreams[0]!.balancing.subset, {
    zone: "a",
  });
  await refuses(text("{ zone: b }"), /no endpoint has these labels/);
  await refuses(text('{ zone: a, v: "3" }'), /no endpoint has these labels/);
  await refuses(text("{}"), /subset names no label/);
});

Deno.test("a percentage needs its sign", async () => {
  await refuses(balancing("panic_threshold: 50"), /the percent sign is missing/);
  await refuses(balancing("panic_threshold: 101%"), /at most 100%/);
  const [error] = await rawErrors(balancing("panic_threshold: 0.5"));
  assert.equal(error!.remedy, "write 50%");
});
