import assert from "node:assert/strict";
import { startDemoOrigin } from "../../src/cli/demo.ts";
import { cli, pretendProgram } from "./support.ts";

Deno.test("the demo origin answers, echoes and streams", async () => {
  await using origin = startDemoOrigin();
  const base = `http://${origin.address}`;
  assert.match(await (await fetch(base)).text(), /demo origin/);
  const echo = await (await fetch(`${base}/echo?a=1`, { method: "POST", body: "hi" })).json();
  assert.deepEqual([echo.method, echo.target, echo.body], ["POST", "/echo?a=1", "hi"]);
  const status = await fetch(`${base}/status/418`);
  assert.equal(status.status, 418);
  await status.body?.cancel();
  const empty = await fetch(`${base}/status/204`);
  assert.equal(empty.status, 204);
  const stream = await (await fetch(`${base}/stream`)).text();
  assert.equal(stream.split("\n").length, 11);
});

Deno.test("demo puts the proxy before its origin", async () => {
  const program = pretendProgram();
  const { code, err } = await cli(["demo", "--listen", "127.0.0.1:0"], program);
  assert.equal(code, 0);
  assert.match(err, /demo origin on 127\.0\.0\.1:\d+/);
  const config = program.ran[0]!;
  assert.equal(config.upstreams[0]!.endpoints[0]!.address.kind, "tcp");
  assert.equal(config.accessLog.output, "stdout");
});
