import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { jsonNumber, jsonText, MOST_CHARACTERS, timestamp } from "../../src/observe/json_text.ts";

Deno.test("any text becomes one ASCII JSON string", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const json = jsonText(text);
    assert.match(json, /^"[\x20-\x7e]*"$/);
    JSON.parse(json);
  }));
});

Deno.test("text comes back as it was, but for bytes that are UTF-8", () => {
  fc.assert(fc.property(fc.string({ unit: "binary-ascii", maxLength: 200 }), (text) => {
    assert.equal(JSON.parse(jsonText(text)), text);
  }));
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 50 }), (text) => {
    const bytes = Buffer.from(text, "utf8").toString("latin1");
    assert.equal(JSON.parse(jsonText(bytes)), text);
  }));
  assert.equal(JSON.parse(jsonText("caf\xe9")), "caf\xe9");
});

Deno.test("a line break cannot be smuggled in", () => {
  for (const text of ["a\nb", "a\r\nb", "a\u2028b", "a\u0085b", '"}\n{"x":"']) {
    assert.equal(jsonText(text).includes("\n"), false);
    assert.equal(JSON.parse(jsonText(text)), text);
  }
});

Deno.test("long text is cut", () => {
  const cut = JSON.parse(jsonText("x".repeat(10_000))) as string;
  assert.equal(cut.length, MOST_CHARACTERS + 1);
  assert.ok(cut.endsWith("\u2026"));
  assert.ok(jsonText("\u0001".repeat(10_000)).length < MOST_CHARACTERS * 6 + 10);
});

Deno.test("numbers have at most three decimals, and are always numbers", () => {
  assert.equal(jsonNumber(1.23456), "1.235");
  assert.equal(jsonNumber(5), "5");
  assert.equal(jsonNumber(NaN), "0");
  assert.equal(jsonNumber(Infinity), "0");
});

Deno.test("times are those of Date", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 4e12 }), (ms) => {
    assert.equal(timestamp(ms), new Date(ms).toISOString());
  }));
});
