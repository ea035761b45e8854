import assert from "node:assert/strict";
import fc from "fast-check";
import { same } from "../../src/base/same.ts";

Deno.test("a copy is the same, whatever the order of its keys", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const copy = JSON.parse(JSON.stringify(value));
    assert.ok(same(JSON.parse(JSON.stringify(value)), copy));
    assert.ok(same(turned(copy), JSON.parse(JSON.stringify(value))));
  }));
});

Deno.test("what differs anywhere is not the same", () => {
  const base = { a: [1, { b: null, c: "x" }], d: new Uint8Array([1, 2]) };
  for (
    const other of [
      { ...base, a: [1, { b: null, c: "y" }] },
      { ...base, a: [1, { b: undefined, c: "x" }] },
      { ...base, a: [1] },
      { ...base, d: new Uint8Array([1, 3]) },
      { ...base, d: [1, 2] },
      { ...base, e: undefined },
      { a: base.a },
      null,
    ]
  ) assert.equal(same(base, other), false, JSON.stringify(other));
  assert.ok(same(base, { d: new Uint8Array([1, 2]), a: [1, { c: "x", b: null }] }));
  assert.equal(same([], {}), false);
});

/** The same data with its keys the other way round. */
function turned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(turned);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).reverse().map(([key, inner]) => [key, turned(inner)]),
  );
}
