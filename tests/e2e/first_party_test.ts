/** The plugins of `plugins/`, all of them together, as `start` runs them. */
import assert from "node:assert/strict";
import { serveOrigin } from "../support/first_party.ts";
import { startSluice } from "../support/sluice.ts";

const PLUGINS = new URL("../../plugins", import.meta.url).pathname;

Deno.test("all plugins together, without any config, leave traffic as it is", async () => {
  await using origin = serveOrigin(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/missing") return new Response("not here", { status: 404 });
    return new Response(await request.bytes(), {
      headers: { "content-type": "text/plain", etag: '"strong"', "x-method": request.method },
    });
  });
  await using sluice = await startSluice({
    pluginDirectory: PLUGINS,
    upstream: `http://127.0.0.1:${origin.port}`,
    threads: 2,
  });
  const body = Uint8Array.from({ length: 200_000 }, (_, i) => (i * i) >> 3);
  const posted = await fetch(`${sluice.url}/echo?a=b`, { method: "POST", body });
  assert.equal(posted.status, 200);
  assert.equal(posted.headers.get("x-method"), "POST");
  assert.equal(posted.headers.get("etag"), '"strong"');
  assert.deepEqual(await posted.bytes(), body);
  const missing = await fetch(`${sluice.url}/missing`);
  assert.equal(missing.status, 404);
  assert.equal(await missing.text(), "not here");
  const guarded = await fetch(`${sluice.url}/private/x`);
  assert.equal(guarded.status, 401);
  await guarded.body?.cancel();
  const many = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const response = await fetch(`${sluice.url}/`, { method: "POST", body: `number ${i}` });
    return await response.text();
  }));
  assert.deepEqual(many, Array.from({ length: 100 }, (_, i) => `number ${i}`));
  assert.equal(await sluice.stop(), 0);
  assert.ok(!/\b(ERROR|error)\b/.test(sluice.stderr()), sluice.stderr());
});
