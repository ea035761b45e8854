import assert from "node:assert/strict";
import fc from "fast-check";
import { matchCovers } from "../../src/config/reachability.ts";
import { Fields } from "../../src/http/fields.ts";
import { compileMatch, type HeadMatch } from "../../src/http/matcher.ts";
import { RequestHead } from "../../src/http/message.ts";

Deno.test("a match that covers another matches every request that the other does", () => {
  const paths = ["/", "/a", "/a/*", "/a/b", "/a/b/*", "/*", "*", "/ab"];
  const hosts = ["e.com", "a.e.com", "*.e.com", "*.a.e.com", "*"];
  const some = (values: string[]) =>
    fc.option(fc.subarray(values, { minLength: 1 }), { nil: undefined });
  const match = fc.record({
    path: some(paths),
    host: some(hosts),
    method: some(["GET", "PUT"]),
    header: fc.option(
      fc.dictionary(
        fc.constantFrom("x-a", "X-A", "x-b"),
        fc.constantFrom("1", "2", true, false),
        { maxKeys: 2 },
      ),
      { nil: undefined },
    ),
  }) as fc.Arbitrary<HeadMatch>;
  const request = fc.record({
    target: fc.constantFrom("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/z", "*"),
    host: fc.constantFrom("e.com", "a.e.com", "b.a.e.com", "xe.com"),
    method: fc.constantFrom("GET", "PUT", "POST"),
    fields: fc.array(
      fc.tuple(fc.constantFrom("x-a", "x-b"), fc.constantFrom("1", "2", "3")),
      { maxLength: 2 },
    ),
  });
  let covered = 0;
  fc.assert(
    fc.property(match, match, fc.array(request, { maxLength: 20 }), (wide, narrow, requests) => {
      if (!matchCovers(wide, narrow)) return;
      covered++;
      const wideTest = compileMatch(wide);
      const narrowTest = compileMatch(narrow);
      for (const { target, host, method, fields } of requests) {
        const head = new RequestHead({
          method,
          version: 11,
          fields: Fields.from([["host", host], ...fields]),
          target,
        });
        if (narrowTest === null || narrowTest(head)) {
          assert.ok(wideTest === null || wideTest(head), `${target} ${host} ${method}`);
        }
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(covered > 30, "the generator must find pairs that cover each other");
});
