import assert from "node:assert/strict";
import fc from "fast-check";
import { editDistance, suggest } from "../../src/config/suggest.ts";

Deno.test("edits are counted, two swapped neighbours as one", () => {
  assert.equal(editDistance("", "abc"), 3);
  assert.equal(editDistance("adress", "address"), 1);
  assert.equal(editDistance("lsiten", "listen"), 1);
  assert.equal(editDistance("kitten", "sitting"), 3);
});

Deno.test("the distance is symmetric, and 0 only for equal words", () => {
  const word = fc.string({ maxLength: 12 });
  fc.assert(fc.property(word, word, (a, b) => {
    assert.equal(editDistance(a, b), editDistance(b, a));
    assert.equal(editDistance(a, b) === 0, a === b);
  }));
});

Deno.test("the nearest word is suggested, and none when all are far", () => {
  assert.equal(suggest("adress", ["address", "name"]), "address");
  assert.equal(suggest("gracePeriod", ["grace_period", "threads"]), "grace_period");
  assert.equal(suggest("zebra", ["address", "name"]), null);
  assert.equal(suggest("x".repeat(10_000), ["address"]), null);
});

Deno.test("the word of another proxy leads to ours", () => {
  assert.equal(suggest("listen", ["address", "name"]), "address");
  assert.equal(suggest("lisen", ["address", "name"]), "address");
  assert.equal(suggest("servers", ["endpoints", "name"]), "endpoints");
});
