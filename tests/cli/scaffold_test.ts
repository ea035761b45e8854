import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { cli } from "./support.ts";

Deno.test("plugin new writes a plugin whose test passes, and overwrites nothing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const plugins = `${folder}/plugins`;
    const { code, out } = await cli(["plugin", "new", "add-header", "--plugins", plugins]);
    assert.equal(code, 0);
    assert.match(
      out,
      /wrote .*plugins\/add-header\.ts\nwrote .*tests\/plugins\/add_header_test\.ts\n/,
    );
    const again = await cli(["plugin", "new", "add-header", "--plugins", plugins]);
    assert.equal(again.code, 2);
    assert.match(again.err, /exists already/);
    const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
    const { code: exit, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-prompt", "--no-lock", "--config", config, `${folder}/tests`],
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(exit, 0, text);
    assert.match(text, /2 passed/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
