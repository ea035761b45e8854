import assert from "node:assert/strict";
import { coversHost, plainHost, wildcardOf } from "../../src/base/host_pattern.ts";

Deno.test("names are compared in lower case and without the dot of the root", () => {
  assert.equal(plainHost("A.Example.COM."), "a.example.com");
  assert.equal(plainHost(""), "");
});

Deno.test("a wildcard stands for one label, and never for an address", () => {
  assert.equal(wildcardOf("a.example.com"), "*.example.com");
  assert.equal(wildcardOf("example"), "");
  assert.equal(wildcardOf(".example"), "");
  const names = ["example.com", "*.example.com", "*.0.0.1", "10.0.0.2", "::1"];
  const cases: [string, boolean][] = [
    ["example.com", true],
    ["a.example.com", true],
    ["b.a.example.com", false],
    ["example.org", false],
    ["127.0.0.1", false],
    ["10.0.0.2", true],
    ["::1", true],
    ["", false],
  ];
  for (const [host, covered] of cases) assert.equal(coversHost(names, host), covered, host);
});
