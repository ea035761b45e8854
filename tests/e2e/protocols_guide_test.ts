/** The examples of docs/protocols.md are configs that `check` accepts, and what it says of fields is what is logged. */
import assert from "node:assert/strict";
import { emptyAccessRecord, formatAccessRecord } from "../../src/observe/access_log.ts";
import type { TunnelEnd } from "../../src/proxy/tunnel_record.ts";
import { runSluice } from "../support/sluice.ts";

const GUIDE = await Deno.readTextFile(new URL("../../docs/protocols.md", import.meta.url));

Deno.test("check accepts the examples of the guide to protocols", async () => {
  const examples = [...GUIDE.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map((match) => match[1]!);
  assert.equal(examples.length, 2);
  for (const config of examples) {
    const { code, stdout, stderr } = await runSluice(
      (directory) => ["check", "-c", `${directory}/sluice.yaml`],
      { config },
    );
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.doesNotMatch(stderr, /warning/, stderr);
  }
});

Deno.test("the guide names the fields of tunnels and calls, and every end of a tunnel", () => {
  const line = formatAccessRecord({
    ...emptyAccessRecord(),
    grpcStatus: 0,
    tunnelProtocol: "websocket",
    tunnelEnd: "timeout",
  }, "keep");
  const names = Object.keys(JSON.parse(line)).filter((name) => /^(tunnel|rpc)\./.test(name));
  assert.equal(names.length, 5);
  for (const name of names) assert.ok(GUIDE.includes(`\`${name}\``), name);
  const ends: Record<TunnelEnd, true> = {
    client_closed: true,
    upstream_closed: true,
    client_broke: true,
    upstream_broke: true,
    idle_timeout: true,
    timeout: true,
    shutdown: true,
  };
  for (const end of Object.keys(ends)) assert.ok(GUIDE.includes(`\`${end}\``), end);
});
