import assert from "node:assert/strict";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { cookieValue } from "../../src/balancer/cookie.ts";
import { crc32, mix32 } from "../../src/balancer/crc32.ts";
import { hashKey, queryArgument } from "../../src/balancer/hash_key.ts";
import { Fields } from "../../src/http/fields.ts";
import { head } from "./support.ts";

Deno.test("the key is what its source says", () => {
  const request = head("/a/./b?k=1&user=ann&user=bob", [
    ["X-User", "ann"],
    ["x-user", "bob"],
    ["Cookie", "sid=42; theme=dark"],
  ]);
  const key = (source: Parameters<typeof hashKey>[0]) => hashKey(source, request, "192.0.2.7");
  assert.equal(key({ kind: "client_address" }), "192.0.2.7");
  assert.equal(key({ kind: "header", name: "x-USER" }), "ann, bob");
  assert.equal(key({ kind: "cookie", name: "theme" }), "dark");
  assert.equal(key({ kind: "uri" }), "/a/./b?k=1&user=ann&user=bob");
  assert.equal(key({ kind: "path" }), "/a/b");
  assert.equal(key({ kind: "query", name: "user" }), "ann");
});

Deno.test("what is absent or empty is no key", () => {
  const request = head("/?empty=&flag", [["x-empty", ""], ["cookie", "empty=; flag"]]);
  for (const name of ["empty", "flag", "absent", "x-empty"]) {
    for (const kind of ["header", "cookie", "query"] as const) {
      assert.equal(hashKey({ kind, name }, request, ""), null);
    }
  }
  assert.equal(hashKey({ kind: "client_address" }, request, ""), null);
});

Deno.test("an argument is found by its whole name, and taken as it was sent", () => {
  assert.equal(queryArgument("/?ab=1&a=2", "a"), "2");
  assert.equal(queryArgument("/?xa=1&a=%20+b=c", "a"), "%20+b=c");
  assert.equal(queryArgument("/a=1", "a"), null);
  assert.equal(queryArgument("/?A=1", "a"), null);
  assert.equal(queryArgument("/?&&a=1&", "a"), "1");
  assert.equal(queryArgument("/?b=a=1", "a"), null);
  assert.equal(queryArgument("/?x?a=1", "a"), null);
});

Deno.test("a cookie is found by its whole name, in any of several fields", () => {
  const fields = Fields.from([["cookie", "xid=0;id2=1"], ["cookie", '\t a=b ;  id="q=1" ;id=9']]);
  assert.equal(cookieValue(fields, "id"), '"q=1"');
  assert.equal(cookieValue(fields, "a"), "b");
  assert.equal(cookieValue(fields, "xid"), "0");
  assert.equal(cookieValue(fields, "d"), null);
  assert.equal(cookieValue(fields, "ID"), null);
  assert.equal(cookieValue(new Fields(), "id"), null);
});

Deno.test("cookies and arguments agree with a plain split, whatever comes", () => {
  const piece = fc.oneof(
    fc.constantFrom("a=1", "a=", "a", "=a", "aa=2", " a=3", "a =4", "", "a=b=c", "b=a=1"),
    fc.stringMatching(/^[a-c=& ;?]{0,8}$/),
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const line = pieces.join(";").trim();
      const found = line.split(";").map((one) => one.trim()).find((one) => one.startsWith("a="));
      const fields = Fields.from([["cookie", line]]);
      assert.equal(cookieValue(fields, "a"), found === undefined ? null : found.slice(2));
      const query = pieces.join("&").replaceAll(/[ ;]/g, "");
      const argument = query.split("&").find((one) => one.startsWith("a="));
      assert.equal(queryArgument(`/p?${query}`, "a"), argument?.slice(2) ?? null);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("the checksum is CRC-32 of the bytes of the wire", () => {
  assert.equal(crc32("123456789"), 0xcbf43926);
  assert.equal(crc32(""), 0);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    const text = String.fromCharCode(...bytes);
    assert.equal(crc32(text), zlibCrc32(bytes));
  }));
  assert.notEqual(crc32("\u0100"), crc32("\u0000"));
});

Deno.test("mixing is one to one", () => {
  const seen = new Set<number>();
  for (let i = 0; i < 100_000; i++) seen.add(mix32(i * 42_949));
  assert.equal(seen.size, 100_000);
});
