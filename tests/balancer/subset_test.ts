import assert from "node:assert/strict";
import fc from "fast-check";
import { endpoint, input, makeGroup, served } from "./support.ts";

function zoned(text: string, zone: string, more: Record<string, string> = {}, priority = 0) {
  return endpoint(text, 1, { labels: { zone, ...more }, priority });
}

const [A, B, C, D] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"] as const;
const MEMBERS = [
  zoned(A, "a"),
  zoned(B, "a", { disk: "fast" }),
  zoned(C, "b", { disk: "fast" }),
  zoned(D, "b"),
];

Deno.test("a subset is who bears all the labels; with labels that nobody bears, all", () => {
  const { group } = makeGroup(MEMBERS);
  const of = (subset: Record<string, string>) => served(group, 50, input({ subset }));
  assert.deepEqual(of({ zone: "a" }), [A, B]);
  assert.deepEqual(of({ zone: "b", disk: "fast" }), [C]);
  assert.deepEqual(of({ disk: "fast", zone: "b" }), [C]);
  assert.deepEqual(of({}), [A, B, C, D]);
  assert.deepEqual(of({ zone: "c" }), [A, B, C, D]);
  assert.deepEqual(of({ constructor: "x" }), [A, B, C, D]);
});

Deno.test("the labels of the group hold where a request brings none", () => {
  const { group } = makeGroup(MEMBERS, { subset: { zone: "a" } });
  assert.deepEqual(served(group), [A, B]);
  assert.deepEqual(served(group, 50, input({ subset: { zone: "b" } })), [C, D]);
  assert.deepEqual(served(group, 50, input({ subset: {} })), [A, B]);
});

Deno.test("a subset with too few usable members hands over to all, and takes back", () => {
  const { group, health } = makeGroup(MEMBERS, { subset: { zone: "a" } });
  health.set(A);
  assert.deepEqual(served(group), [B]);
  health.set(A, B);
  assert.deepEqual(served(group), [C, D]);
  assert.equal(group.panic, false);
  health.set();
  assert.deepEqual(served(group), [A, B]);
});

Deno.test("a retry leaves the subset only when all of it failed", () => {
  const { group } = makeGroup(MEMBERS, { subset: { zone: "a" } });
  const tried = new Set([group.find(A)!]);
  assert.equal(group.select(input(), tried)!.id, B);
  tried.add(group.find(B)!);
  assert.ok([C, D].some((id) => id === group.select(input(), tried)!.id));
});

Deno.test("subsets follow the set of members, and have tiers", () => {
  const { group, health } = makeGroup(MEMBERS);
  const by = input({ subset: Object.freeze({ zone: "a" }) });
  assert.deepEqual(served(group, 50, by), [A, B]);
  group.update([zoned(A, "b"), zoned(C, "a"), zoned(D, "a", {}, 1)]);
  assert.deepEqual(served(group, 50, by), [C]);
  health.set(C);
  assert.deepEqual(served(group, 50, by), [D]);
  group.update([zoned(B, "b")]);
  assert.deepEqual(served(group, 50, by), [B]);
  group.update(MEMBERS);
  health.set();
  assert.deepEqual(served(group, 50, by), [A, B]);
});

Deno.test("labels that a caller changes are read anew", () => {
  const { group } = makeGroup(MEMBERS);
  const subset = { zone: "a" };
  const by = input({ subset });
  assert.deepEqual(served(group, 20, by), [A, B]);
  subset.zone = "b";
  assert.deepEqual(served(group, 20, by), [C, D]);
});

Deno.test("whatever labels come, and however many, the choice is right", () => {
  const many = Array.from(
    { length: 200 },
    (_, i) => zoned(`10.1.0.${i}:80`, `zone-${i}`, { even: `${i % 2}` }),
  );
  const { group } = makeGroup(many);
  const labels = fc.dictionary(
    fc.oneof(fc.constantFrom("zone", "even", "__proto__", "toString"), fc.string()),
    fc.oneof(fc.nat(250).map((i) => `zone-${i}`), fc.constantFrom("0", "1"), fc.string()),
    { maxKeys: 3 },
  );
  fc.assert(
    fc.property(labels, (subset) => {
      const fits = many.filter(({ labels }) =>
        Object.entries(subset).every(([name, value]) =>
          (labels as Record<string, string>)[name] === value
        )
      );
      const picked = group.select(input({ subset }), null)!;
      if (fits.length > 0) {
        assert.ok(fits.includes(picked.endpoint) || sameAddress(fits, picked.id));
      }
    }),
    { numRuns: 500 },
  );
});

function sameAddress(fits: readonly { address: unknown }[], id: string): boolean {
  return fits.some(({ address }) => `${(address as { host: string }).host}:80` === id);
}
