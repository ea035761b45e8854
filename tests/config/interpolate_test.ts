import assert from "node:assert/strict";
import fc from "fast-check";
import { interpolate } from "../../src/config/interpolate.ts";

const sources = {
  env: (name: string) => ({ A: "1", EMPTY: "", ODD: "${A}$$" })[name],
  file: (path: string) => {
    if (path === "/key") return "secret";
    throw new Deno.errors.NotFound("no such file: /key and its content");
  },
};

Deno.test("references are put in, once", () => {
  const cases: [string, string][] = [
    ["", ""],
    ["a$b", "a$b"],
    ["${A}", "1"],
    ["x${A}y${A}z", "x1y1z"],
    ["${NONE:-d}", "d"],
    ["${EMPTY:-d}", "d"],
    ["${EMPTY}", ""],
    ["${NONE:-}", ""],
    ["$${A}", "${A}"],
    ["$$$", "$$"],
    ["${file:/key}!", "secret!"],
    ["${ODD}", "${A}$$"],
  ];
  for (const [text, value] of cases) {
    const result = interpolate(text, sources);
    assert.deepEqual(result.problems, [], text);
    assert.equal(result.value, value, text);
  }
});

Deno.test("what cannot be put in is reported with its place", () => {
  const cases: [string, RegExp, number, number][] = [
    ["ab${NONE}", /NONE is not set/, 2, 7],
    ["${A", /not closed/, 0, 3],
    ["${}", /not the name/, 0, 3],
    ["${a b}", /not the name/, 0, 6],
    ["${file:/none}", /cannot be read \(NotFound\)/, 0, 13],
    ["${file:}", /no path/, 0, 8],
  ];
  for (const [text, words, at, length] of cases) {
    const [problem] = interpolate(text, sources).problems;
    assert.match(problem!.message, words);
    assert.deepEqual([problem!.at, problem!.length], [at, length]);
  }
});

Deno.test("any text is gone through, and text without a dollar stays as it is", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."${}:-Aa/file") }), (text) => {
    const result = interpolate(text, sources);
    if (!text.includes("$")) assert.equal(result.value, text);
    for (const problem of result.problems) {
      assert.ok(problem.at + problem.length <= text.length);
    }
  }));
});

Deno.test("doubling every dollar makes any text stand for itself", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."${}:-A") }), (text) => {
    const result = interpolate(text.replaceAll("$", "$$$$"), sources);
    assert.equal(result.value, text);
    assert.equal(result.changed, false);
  }));
});
