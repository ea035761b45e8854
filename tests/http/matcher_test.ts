import assert from "node:assert/strict";
import fc from "fast-check";
import { Fields } from "../../src/http/fields.ts";
import {
  compileMatch,
  type HeadMatch,
  matchError,
  normalHost,
  normalPath,
} from "../../src/http/matcher.ts";
import { RequestHead } from "../../src/http/message.ts";
import type { Match } from "../../src/plugin/plugin.ts";

function head(
  target: string,
  options: { method?: string; host?: string; fields?: [string, string][] } = {},
): RequestHead {
  return new RequestHead({
    method: options.method ?? "GET",
    version: 11,
    fields: Fields.from([["Host", options.host ?? "example.com"], ...(options.fields ?? [])]),
    target,
  });
}

function matches(match: HeadMatch, request: RequestHead): boolean {
  assert.equal(matchError(match), null);
  const test = compileMatch(match);
  return test === null || test(request);
}

// A plugin's match must be one for the core, and the other way round.
const _same: [Match] extends [HeadMatch] ? ([HeadMatch] extends [Match] ? true : false) : false =
  true;

Deno.test("an empty match is no test at all", () => {
  assert.equal(compileMatch({}), null);
  assert.equal(compileMatch({ path: "*" }), null);
  assert.equal(compileMatch({ host: "*" }), null);
});

Deno.test("a path matches exactly, or by prefix with the prefix itself", () => {
  assert.equal(matches({ path: "/a" }, head("/a")), true);
  assert.equal(matches({ path: "/a" }, head("/a?x=1")), true);
  assert.equal(matches({ path: "/a" }, head("/a/")), false);
  assert.equal(matches({ path: "/a" }, head("/A")), false);
  for (const target of ["/a", "/a/", "/a/b", "/a/b/c?d"]) {
    assert.equal(matches({ path: "/a/*" }, head(target)), true, target);
  }
  assert.equal(matches({ path: "/a/*" }, head("/ab")), false);
  assert.equal(matches({ path: "/*" }, head("/")), true);
  assert.equal(matches({ path: "/*" }, head("*", { method: "OPTIONS" })), false);
  assert.equal(matches({ path: ["/x", "/y/*"] }, head("/y/1")), true);
  assert.equal(matches({ path: ["/x", "/y/*", "/z/*"] }, head("/z")), true);
  assert.equal(matches({ path: ["/x", "/y/*"] }, head("/q")), false);
});

Deno.test("dots, double slashes and encoded letters do not get past a path", () => {
  for (
    const target of [
      "/public/../admin/x",
      "//admin/x",
      "/./admin/x",
      "/%61dmin/x",
      "/%61%64%6d%69%6e/x",
      "/public/%2e%2e/admin/x",
      "/public/%2E./admin/x",
      "/../../admin/x",
      "/admin//x",
      "/admin/x/..",
      "/admin/.",
    ]
  ) assert.equal(matches({ path: "/admin/*" }, head(target)), true, target);
});

Deno.test("an encoded slash is no slash, and nothing is decoded twice", () => {
  assert.equal(matches({ path: "/admin/*" }, head("/admin%2Fx")), false);
  assert.equal(matches({ path: "/admin/*" }, head("/%2561dmin/x")), false);
  assert.equal(matches({ path: "/a%2Fb" }, head("/a%2fb")), true);
  assert.equal(normalPath("/a%zz%4"), "/a%zz%4");
});

Deno.test("a normal path stays as it is, and has nothing left to resolve", () => {
  const part = fc.constantFrom("/", "a", ".", "..", "%2e", "%2F", "%61", "%", "b", "~", ";x");
  fc.assert(fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
    const path = `/${parts.join("")}`;
    const normal = normalPath(path);
    assert.equal(normal[0], "/");
    assert.equal(normal.includes("//"), false, normal);
    assert.equal(/\/\.\.?(\/|$)/.test(normal), false, normal);
    // Where no "%" is left over, a second time changes nothing.
    if (!/%(?![0-9A-Fa-f]{2})/.test(path)) assert.equal(normalPath(normal), normal);
  }));
});

Deno.test("normal paths agree with the URL parser where it does the same", () => {
  const part = fc.constantFrom("a", ".", "..", "b.c", "...", ".d", "~");
  fc.assert(fc.property(fc.array(part, { maxLength: 8 }), fc.boolean(), (parts, slash) => {
    const path = `/${parts.join("/")}${slash && parts.length > 0 ? "/" : ""}`;
    assert.equal(normalPath(path), new URL(path, "http://h").pathname);
  }));
});

Deno.test("hosts match in any case, without port and final dot", () => {
  for (const host of ["example.com", "EXAMPLE.com", "example.com:8080", "example.com."]) {
    assert.equal(matches({ host: "Example.com" }, head("/", { host })), true, host);
  }
  assert.equal(matches({ host: "*.example.com" }, head("/", { host: "a.b.example.com" })), true);
  for (const host of ["example.com", "xexample.com", ".example.com", "a@b.example.com", ""]) {
    assert.equal(matches({ host: "*.example.com" }, head("/", { host })), false, host);
  }
  assert.equal(matches({ host: "[::1]" }, head("/", { host: "[::1]:80" })), true);
  assert.equal(normalHost("[::1"), "");
});

Deno.test("methods are compared as they are", () => {
  assert.equal(matches({ method: "GET" }, head("/")), true);
  assert.equal(matches({ method: ["PUT", "POST"] }, head("/", { method: "POST" })), true);
  assert.equal(matches({ method: "GET" }, head("/", { method: "get" })), false);
});

Deno.test("fields must be there, be missing, or have a value", () => {
  const request = head("/", { fields: [["X-A", "1"], ["x-b", "1"], ["x-b", "2, 3"]] });
  assert.equal(matches({ header: { "x-a": "1" } }, request), true);
  assert.equal(matches({ header: { "x-a": "2" } }, request), false);
  assert.equal(matches({ header: { "x-a": true, "x-c": false } }, request), true);
  assert.equal(matches({ header: { "x-a": false } }, request), false);
  assert.equal(matches({ header: { "x-c": true } }, request), false);
  assert.equal(matches({ header: { "x-b": "2, 3" } }, request), true);
  assert.equal(matches({ header: { "x-b": "2" } }, request), false);
  assert.equal(
    matches({ method: "GET", host: "example.com", path: "/", header: { "x-a": "1" } }, request),
    true,
  );
});

Deno.test("a path test does not mix up two requests that follow each other", () => {
  const test = compileMatch({ path: "/a/*", host: "a.example" })!;
  const one = head("/a/1", { host: "a.example" });
  const other = head("/b/1", { host: "a.example" });
  const third = head("/a/1", { host: "b.example" });
  for (let i = 0; i < 3; i++) {
    assert.deepEqual([test(one), test(other), test(third)], [true, false, false]);
  }
});

Deno.test("a match that could never hold is refused with words", () => {
  const cases: [HeadMatch, RegExp][] = [
    [{ path: "a" }, /must begin with "\/"/],
    [{ path: "/a*" }, /only stand at the end/],
    [{ path: "/*/a" }, /only stand at the end/],
    [{ path: "/a?b" }, /query/],
    [{ path: "/ä" }, /percent-encode/],
    [{ path: "/a/../b" }, /write "\/b"/],
    [{ path: "/%61/*" }, /write "\/a\/\*"/],
    [{ path: [] }, /empty list/],
    [{ method: "get" }, /write "GET"/],
    [{ method: "G T" }, /not a method/],
    [{ host: "example.com:80" }, /port/],
    [{ host: "a.*.com" }, /first labels/],
    [{ host: "exa mple" }, /not a host name/],
    [{ header: { "x y": true } }, /bad name or value/],
    [{ header: { x: "a\nb" } }, /bad name or value/],
  ];
  for (const [match, words] of cases) {
    assert.match(matchError(match)?.message ?? "nothing", words, JSON.stringify(match));
  }
});
