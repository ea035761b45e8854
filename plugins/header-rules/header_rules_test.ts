import assert from "node:assert/strict";
import { serveOrigin, startWithPlugin } from "../../tests/support/first_party.ts";
import plugin from "./mod.ts";
import { matchRequest, matchStatus, plainPath } from "./rule_match.ts";

Deno.test("plainPath() compares spellings of one path alike, and keeps %2F", () => {
  assert.equal(plainPath("/a/b"), "/a/b");
  assert.equal(plainPath("//a/./b/../%63/"), "/a/c/");
  assert.equal(plainPath("/%2e%2E/a"), "/a");
  assert.equal(plainPath("/a%2fb"), "/a%2Fb");
  assert.equal(plainPath("/.."), "/");
});

Deno.test("matchRequest() takes a prefix, what it begins with, and nothing beside it", () => {
  const matches = matchRequest({ path: ["/a/*", "/exact"], method: ["GET"] });
  for (const path of ["/a", "/a/", "/a/b", "/x/../a/b", "/exact"]) {
    assert.equal(matches("GET", path), true, path);
  }
  for (const path of ["/", "/ab", "/exact/", "/b/a"]) {
    assert.equal(matches("GET", path), false, path);
  }
  assert.equal(matches("POST", "/a"), false);
  assert.equal(matchRequest({ path: ["/*"] })("GET", "/"), true);
  assert.equal(matchRequest({})("PURGE", "*"), true);
});

Deno.test("matchStatus() takes statuses and classes", () => {
  const matches = matchStatus({ status: [404, "5xx"] });
  assert.deepEqual([200, 404, 405, 500, 599].map(matches), [false, true, false, true, true]);
  assert.equal(matchStatus({})(200), true);
});

Deno.test("rules that could never be followed are refused", async () => {
  const refused = async (rule: unknown) =>
    (await plugin.config!["~standard"].validate({ rules: [rule] })).issues !== undefined;
  assert.equal(await refused({ response: { set: { "x-a": "b" } } }), false);
  for (
    const rule of [
      {},
      { response: { set: { "bad name": "b" } } },
      { response: { set: { "x-a": "two\nlines" } } },
      { response: { set: { "x-a": " padded" } } },
      { response: { set: { "x-a": "€" } } },
      { response: { set: { "Content-Length": "3" } } },
      { request: { remove: ["transfer-encoding"] } },
      { request: { set: { "x-a": "b" } }, match: { status: [200] } },
      { response: { set: { "x-a": "b" } }, match: { status: ["6xx"] } },
      { response: { set: { "x-a": "b" } }, match: { path: ["no-slash"] } },
      { response: { set: { "x-a": "b" } }, match: { path: ["/a*"] } },
      { response: { set: { "x-a": "b" } }, math: {} },
    ]
  ) assert.equal(await refused(rule), true, JSON.stringify(rule));
});

Deno.test("fields of requests and responses are set, appended and removed where a rule matches", async () => {
  const seen: [string, string][][] = [];
  await using origin = serveOrigin((request) => {
    seen.push([...request.headers]);
    const status = new URL(request.url).pathname === "/missing" ? 404 : 200;
    return new Response("ok", { status, headers: { server: "origin", "x-list": "one" } });
  });
  await using sluice = await startWithPlugin({
    plugin: "header-rules",
    with: {
      rules: [
        { response: { set: { "x-all": "yes" }, append: { "x-list": "two" }, remove: ["Server"] } },
        {
          match: { path: ["/api/*"], method: ["POST"] },
          request: { set: { "x-api": "1" }, append: { "x-tag": "b" }, remove: ["user-agent"] },
        },
        { match: { status: ["4xx"] }, response: { set: { "cache-control": "no-store" } } },
      ],
    },
    upstreams: { main: origin.port },
  });
  const ask = async (path: string, method: string) => {
    const response = await fetch(`${sluice.url}${path}`, {
      method,
      headers: { "x-tag": "a", "user-agent": "test" },
    });
    await response.body?.cancel();
    const sent = new Map(seen.at(-1)!);
    return { response: response.headers, sent };
  };
  const plain = await ask("/api/x", "GET");
  assert.equal(plain.response.get("server"), null);
  assert.equal(plain.response.get("x-all"), "yes");
  assert.equal(plain.response.get("x-list"), "one, two");
  assert.equal(plain.response.get("cache-control"), null);
  assert.equal(plain.sent.get("x-api"), undefined);
  assert.equal(plain.sent.get("user-agent"), "test");
  const posted = await ask("/api/x", "POST");
  assert.equal(posted.sent.get("x-api"), "1");
  assert.equal(posted.sent.get("x-tag"), "a, b");
  assert.equal(posted.sent.get("user-agent"), undefined);
  const missing = await ask("/missing", "GET");
  assert.equal(missing.response.get("cache-control"), "no-store");
});

Deno.test("without rules, nothing is changed", async () => {
  await using origin = serveOrigin(() => new Response("ok", { headers: { server: "origin" } }));
  await using sluice = await startWithPlugin({
    plugin: "header-rules",
    upstreams: { main: origin.port },
  });
  const response = await fetch(sluice.url);
  assert.equal(await response.text(), "ok");
  assert.equal(response.headers.get("server"), "origin");
});
