import assert from "node:assert/strict";
import fc from "fast-check";
import { copyBytes } from "../../src/base/bytes.ts";

Deno.test("bytes are copied to where they belong, few or many", () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 255);
  fc.assert(fc.property(fc.nat(300), fc.nat(300), fc.nat(50), (a, b, position) => {
    const [start, end] = [Math.min(a, b), Math.max(a, b)];
    const out = new Uint8Array(400);
    assert.equal(copyBytes(out, position, bytes, start, end), position + end - start);
    const expected = new Uint8Array(400);
    expected.set(bytes.slice(start, end), position);
    assert.deepEqual(out, expected);
  }));
});
