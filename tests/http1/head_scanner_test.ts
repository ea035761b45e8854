import assert from "node:assert/strict";
import { HeadScanner } from "../../src/http1/head_scanner.ts";
import { bytes } from "../support/http1.ts";

const HEAD = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";

Deno.test("a head is decided at its end, at a bare LF, or at the limit, and not before", () => {
  const cases: [string, number, number][] = [
    [HEAD + "body", 1000, HEAD.length],
    ["GET / HTTP/1.1\r\nHost: a\n\r\n", 1000, "GET / HTTP/1.1\r\nHost: a\n".length],
    ["\nGET", 1000, 1],
    ["a".repeat(50), 20, 20],
  ];
  for (const [raw, limit, expected] of cases) {
    const scanner = new HeadScanner();
    const data = bytes(`xx${raw}`);
    let end = 3;
    while (!scanner.isDecided(data, 2, end, limit)) end++;
    assert.equal(end - 2, expected, raw);
  }
});

Deno.test("a head that comes byte by byte costs linear time", () => {
  const data = bytes(HEAD.slice(0, -2) + `B: ${"b".repeat(10_000)}\r\n\r\n`);
  let reads = 0;
  const counted = new Proxy(data, {
    get(target, key) {
      reads++;
      return Reflect.get(target, key, target);
    },
  });
  const scanner = new HeadScanner();
  for (let end = 1; end < data.length; end++) {
    assert.equal(scanner.isDecided(counted, 0, end, 100_000), false);
  }
  assert(scanner.isDecided(counted, 0, data.length, 100_000));
  assert(reads < 2 * data.length, `${reads} reads for ${data.length} bytes`);
});
