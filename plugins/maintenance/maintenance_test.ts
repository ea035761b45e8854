import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { serveOrigin, startWithPlugin } from "../../tests/support/first_party.ts";
import { startSluice } from "../../tests/support/sluice.ts";
import { eventually } from "../../tests/support/deadline.ts";
import { isListed, parseNetwork } from "./networks.ts";
import { makePage, wantsPage } from "./page.ts";

const listed = (address: string, ...networks: string[]) =>
  isListed(networks.map((text) => parseNetwork(text)!), address);

Deno.test("isListed() knows addresses and networks of both families", () => {
  assert.equal(listed("10.1.2.3", "10.0.0.0/8"), true);
  assert.equal(listed("11.1.2.3", "10.0.0.0/8"), false);
  assert.equal(listed("127.0.0.1", "127.0.0.1"), true);
  assert.equal(listed("127.0.0.2", "127.0.0.1"), false);
  assert.equal(listed("::ffff:10.1.2.3", "10.0.0.0/8"), true);
  assert.equal(listed("10.1.2.3", "::ffff:10.0.0.0/104"), true);
  assert.equal(listed("2001:db8::1", "192.0.2.0/24", "2001:db8::/32"), true);
  assert.equal(listed("10.1.2.3", "::/0"), false);
  assert.equal(listed("1.2.3.4", "0.0.0.0/0"), true);
});

Deno.test("isListed() lists nothing that is no address", () => {
  for (const text of ["", "localhost", "010.0.0.1", "0x0a.0.0.1", "10.1"]) {
    assert.equal(listed(text, "0.0.0.0/0", "::/0"), false, text);
  }
  fc.assert(fc.property(fc.string(), (text) => {
    parseNetwork(text);
    listed(text, "10.0.0.0/8");
  }));
});

Deno.test("parseNetwork() refuses what others could read in another way", () => {
  for (
    const text of ["", "10/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/8/8", "a/8", "/8"]
  ) {
    assert.equal(parseNetwork(text), null, text);
  }
});

Deno.test("wantsPage() is for browsers", () => {
  assert.equal(wantsPage("text/html,application/xhtml+xml,*/*;q=0.8"), true);
  assert.equal(wantsPage("application/json, text/html"), false);
  assert.equal(wantsPage("*/*"), false);
  assert.equal(wantsPage(null), false);
});

Deno.test("makePage() shows text as text", () => {
  const page = makePage({ title: "<b>&", message: "</p><script>" });
  assert.ok(page.includes("<h1>&#60;b&#62;&#38;</h1>"));
  assert.ok(!page.includes("<script>"));
});

Deno.test("when enabled, everybody is turned away with a page or a problem document", async () => {
  await using origin = serveOrigin(() => new Response("ok"));
  await using sluice = await startWithPlugin({
    plugin: "maintenance",
    with: { enabled: true, retry_after: 600, message: "Back at noon.", allow: ["192.0.2.0/24"] },
    upstreams: { main: origin.port },
    listener: { trusted_proxies: ["127.0.0.0/8"] },
  });
  const program = await fetch(sluice.url);
  assert.equal(program.status, 503);
  assert.equal(program.headers.get("retry-after"), "600");
  assert.equal(program.headers.get("content-type"), "application/problem+json");
  assert.equal((await program.json()).detail, "Back at noon.");
  const browser = await fetch(sluice.url, { headers: { accept: "text/html,*/*;q=0.8" } });
  assert.equal(browser.status, 503);
  assert.equal(browser.headers.get("content-type"), "text/html; charset=utf-8");
  assert.match(await browser.text(), /<p>Back at noon\.<\/p>/);
  const insider = await fetch(sluice.url, { headers: { "x-forwarded-for": "192.0.2.7" } });
  assert.equal(await insider.text(), "ok");
});

Deno.test("a file in the plugin's folder turns it on and off while it runs", async () => {
  await using origin = serveOrigin(() => new Response("ok"));
  const plugins: Record<string, string> = {};
  for (const file of ["mod.ts", "networks.ts", "page.ts"]) {
    plugins[`maintenance/${file}`] = await Deno.readTextFile(new URL(file, import.meta.url));
  }
  await using sluice = await startSluice({ plugins, upstream: `http://127.0.0.1:${origin.port}` });
  const status = async () => {
    const response = await fetch(sluice.url);
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await status(), 200);
  const flag = join(sluice.directory, "plugins/maintenance/ON");
  await Deno.writeTextFile(flag, "");
  await eventually(async () => await status() === 503, "the file to be found", 10_000);
  await Deno.remove(flag);
  await eventually(async () => await status() === 200, "the file to be missed", 10_000);
});

Deno.test("without config, traffic flows", async () => {
  await using origin = serveOrigin(() => new Response("ok"));
  await using sluice = await startWithPlugin({
    plugin: "maintenance",
    upstreams: { main: origin.port },
  });
  assert.equal(await (await fetch(sluice.url)).text(), "ok");
});
