import assert from "node:assert/strict";
import fc from "fast-check";
import { Fields } from "../../src/http/fields.ts";
import { compileMatch, type HeadMatch } from "../../src/http/matcher.ts";
import { RequestHead } from "../../src/http/message.ts";
import { compileRoutes } from "../../src/proxy/router.ts";

function head(target: string, host: string, method = "GET"): RequestHead {
  return new RequestHead({
    method,
    version: 11,
    fields: Fields.from([["host", host]]),
    target,
  });
}

function routes(...matches: HeadMatch[]): { match: HeadMatch }[] {
  return matches.map((match) => ({ match }));
}

Deno.test("no routes match nothing, and a route for everything matches everything", () => {
  assert.equal(compileRoutes([])(head("/", "a")), -1);
  assert.equal(compileRoutes(routes({}, { path: "/a" }))(head("/a", "a")), 0);
});

Deno.test("the first route in the order of the file is taken", () => {
  const router = compileRoutes(routes({ path: "/a/b" }, { path: "/a/*" }, { host: "x" }, {}));
  assert.equal(router(head("/a/b", "x")), 0);
  assert.equal(router(head("/a/c", "x")), 1);
  assert.equal(router(head("/b", "x")), 2);
  assert.equal(router(head("/b", "y")), 3);
});

Deno.test("the index takes the same route as trying one after the other", () => {
  const paths = ["/", "/a", "/a/*", "/b/c", "/b/*", "/*", "*", "/c/d/*", "/d"];
  const hosts = ["a.example", "b.example", "*.example", "*", "c.test", "d.test"];
  const match = fc.record({
    path: fc.option(fc.oneof(fc.constantFrom(...paths), fc.subarray(paths, { minLength: 1 })), {
      nil: undefined,
    }),
    host: fc.option(fc.oneof(fc.constantFrom(...hosts), fc.subarray(hosts, { minLength: 1 })), {
      nil: undefined,
    }),
    method: fc.option(fc.constantFrom("GET", "POST"), { nil: undefined }),
  }).map((parts) =>
    Object.fromEntries(
      Object.entries(parts).filter(([, value]) => value !== undefined),
    ) as HeadMatch
  );
  const request = fc.tuple(
    fc.constantFrom("/", "/a", "/a/x", "/b/c", "/b/d", "//a", "/c/d/e", "/c/d", "/z", "*", "/d?q"),
    fc.constantFrom("a.example", "B.example:80", "x.example", "c.test", "d.test", "other", ""),
    fc.constantFrom("GET", "POST", "PUT"),
  );
  fc.assert(
    fc.property(
      fc.array(match, { maxLength: 30 }),
      fc.array(request, { minLength: 1, maxLength: 10 }),
      (list, requests) => {
        const router = compileRoutes(routes(...list));
        const tests = list.map((one) => compileMatch(one));
        for (const [target, host, method] of requests) {
          const request = head(target, host, method);
          const expected = tests.findIndex((test) => test === null || test(request));
          assert.equal(router(request), expected);
        }
      },
    ),
    { numRuns: 300 },
  );
});
