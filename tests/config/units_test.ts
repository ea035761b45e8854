import assert from "node:assert/strict";
import fc from "fast-check";
import {
  DURATION_PATTERN,
  formatDuration,
  formatPercent,
  formatSize,
  parseDuration,
  parsePercent,
  parseSize,
  SIZE_PATTERN,
} from "../../src/config/units.ts";

Deno.test("durations are read as milliseconds", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["0s", 0],
    ["250ms", 250],
    ["10s", 10_000],
    ["1.5s", 1500],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});

Deno.test("what is no duration is refused with words", () => {
  for (const text of ["", "10", "s", "-1s", "10 s", "10S", "1e3s", "0.5ms", "30d", "constructor"]) {
    assert.equal(typeof parseDuration(text), "string", text);
  }
});

Deno.test("sizes are read as bytes", () => {
  const cases: [string, number][] = [
    ["512", 512],
    ["64KiB", 65_536],
    ["1MB", 1_000_000],
    ["1.5KiB", 1536],
    ["0", 0],
    ["2GiB", 2 * 1024 ** 3],
  ];
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text);
  for (const text of ["", "1k", "KiB", "1.5", "-1", "1 KiB", "99999999GiB"]) {
    assert.equal(typeof parseSize(text), "string", text);
  }
});

Deno.test("what is written is read back, and the schema's pattern lets it pass", () => {
  fc.assert(fc.property(fc.nat(2 ** 31 - 1), (n) => {
    const duration = formatDuration(n);
    assert.equal(parseDuration(duration), n);
    assert.match(duration, new RegExp(DURATION_PATTERN));
    const size = formatSize(n);
    assert.equal(parseSize(size), n);
    assert.match(size, new RegExp(SIZE_PATTERN));
  }));
});

Deno.test("any text gives a number or a sentence", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    for (const result of [parseDuration(text), parseSize(text)]) {
      assert.ok(typeof result === "string" || Number.isSafeInteger(result));
    }
  }));
});

Deno.test("percentages are read as shares, and written back", () => {
  for (const [text, share] of [["0%", 0], ["20%", 0.2], ["0.25%", 0.0025], ["100%", 1]] as const) {
    assert.equal(parsePercent(text), share);
    assert.equal(formatPercent(share), text);
  }
  for (const text of ["20", "101%", "-1%", "1e1%", "0.125%", "%", " 1%", "1000%"]) {
    assert.equal(typeof parsePercent(text), "string", text);
  }
});
