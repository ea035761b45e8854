import assert from "node:assert/strict";
import { cli, CONFIG, withConfig } from "./support.ts";

async function route(...args: string[]) {
  let result = { code: -1, out: "", err: "" };
  await withConfig(CONFIG, async (file) => {
    result = await cli(["route", ...args, "-c", file]);
  });
  return result;
}

Deno.test("route names the route that matches, and where it leads", async () => {
  const { code, out } = await route("http://example.com/v1/users?x=1");
  assert.equal(code, 0);
  assert.match(out, /-> {2}api {2}GET, \/v1\/\* {2}matches/);
  assert.match(out, /upstream {2}app \(TLS app\.example:443\)/);
  assert.match(out, /plugins {3}geo\n/);
});

Deno.test("route says why earlier routes do not match", async () => {
  const { code, out } = await route("http://beta.example/", "-X", "POST", "-H", "x-beta: 1");
  assert.equal(code, 0);
  assert.match(out, /api {3}GET, \/v1\/\* .* no: method, path/);
  assert.match(out, /-> {2}beta .* matches/);
});

Deno.test("route ends with 1 when nothing matches", async () => {
  const { code, out } = await route("/nothing");
  assert.equal(code, 1);
  assert.match(out, /no: host, header/);
  assert.match(out, /no route matches: the answer is 404/);
});

Deno.test("route shows the path that was compared, and rules that answer", async () => {
  const { out } = await route("/x/../v1/old");
  assert.match(out, /compared as \/v1\/old/);
  assert.match(out, /rules {5}0 answers 410/);
});

Deno.test("route refuses what is no URL", async () => {
  for (const url of ["nonsense", "/a b", "/a\u00e4"]) {
    assert.equal((await route(url)).code, 2, url);
  }
  assert.equal((await route("/v1/a", "-H", "nocolon")).code, 2);
});
