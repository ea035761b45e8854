import assert from "node:assert/strict";
import { createPeer, PEER_OPTIONS } from "../../src/connector/peer.ts";
import { UpstreamGroup, UpstreamGroups } from "../../src/proxy/upstream_groups.ts";

function peer(port: number) {
  return createPeer({ address: { kind: "tcp", host: "127.0.0.1", port } });
}

Deno.test("peers come by weight, evenly spread, like nginx", () => {
  const [a, b, c] = [peer(1), peer(2), peer(3)];
  const group = new UpstreamGroup("g", [
    { peer: a, weight: 5 },
    { peer: b, weight: 1 },
    { peer: c, weight: 1 },
  ]);
  const order = Array.from({ length: 7 }, () => group.pick(null)!.label.slice(-1)).join("");
  assert.equal(order, "1121311");
});

Deno.test("weight 0 gets nothing, and a group of only such peers has nobody", () => {
  const [a, b] = [peer(1), peer(2)];
  const group = new UpstreamGroup("g", [{ peer: a, weight: 0 }, { peer: b, weight: 2 }]);
  for (let i = 0; i < 10; i++) assert.equal(group.pick(null), b);
  assert.equal(new UpstreamGroup("g", [{ peer: a, weight: 0 }]).pick(null), null);
});

Deno.test("a peer that failed comes again only when all have failed", () => {
  const [a, b] = [peer(1), peer(2)];
  const group = new UpstreamGroup("g", [{ peer: a, weight: 9 }, { peer: b, weight: 1 }]);
  for (let i = 0; i < 5; i++) assert.equal(group.pick(new Set([a])), b);
  assert.notEqual(group.pick(new Set([a, b])), null);
});

Deno.test("a random group spreads by weight, and leaves out who failed", () => {
  const [a, b, c] = [peer(1), peer(2), peer(3)];
  const group = new UpstreamGroup("g", [
    { peer: a, weight: 3 },
    { peer: b, weight: 1 },
    { peer: c, weight: 0 },
  ], "random");
  let first = 0;
  for (let i = 0; i < 20_000; i++) {
    const picked = group.pick(null)!;
    assert.notEqual(picked, c);
    if (picked === a) first++;
  }
  // Six standard deviations.
  assert.ok(Math.abs(first - 15_000) < 370, `${first} of 20000`);
  assert.equal(group.pick(new Set([a])), b);
  assert.notEqual(group.pick(new Set([a, b])), null);
});

Deno.test("a plugin may name a group or an address, and anything else is told", () => {
  const groups = new UpstreamGroups([{
    name: "pool",
    policy: "round_robin",
    endpoints: [{ address: { kind: "tcp", host: "127.0.0.1", port: 9 }, weight: 1 }],
    tls: null,
    options: PEER_OPTIONS,
  }], PEER_OPTIONS);
  assert.equal(groups.resolve("pool", null).group, "pool");
  const named = groups.resolve("10.0.0.1:80", null);
  assert.equal(named.group, null);
  assert.equal(groups.resolve("10.0.0.1:80", null), named);
  const secure = groups.resolve({ address: "10.0.0.1:80", tls: true }, null);
  assert.equal(secure.tls?.serverName, "10.0.0.1");
  assert.equal(secure.tls?.verify, true);
  assert.notEqual(secure.reuseKey, named.reuseKey);
  assert.throws(() => groups.resolve("no such thing", null), /neither an upstream group nor/);
});
