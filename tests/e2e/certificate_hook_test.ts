/** A plugin in its sandbox that supplies certificates by name. */
import assert from "node:assert/strict";
import { Authority } from "../support/authority.ts";
import { configFile } from "../support/config.ts";
import { testWith } from "../support/require.ts";
import { sClient } from "../support/s_client.ts";
import { startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

testWith(
  ["openssl"],
  "a plugin supplies certificates for names that the config has none for",
  async () => {
    using authority = new Authority();
    const own = authority.sign("a.test");
    const theirs = authority.sign("tenant.test");
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        plugins: {},
        route: { plugins: ["tenants"] },
        listener: {
          protocols: ["h1"],
          tls: {
            certificates: [{ cert: own.cert, key: own.key }],
            certificate_hook: { timeout: "3s", negative_ttl: "60s" },
          },
        },
      }),
      plugins: {
        "tenants.ts": `import { definePlugin } from "@sluice/plugin";
let asked = 0;
export default definePlugin({
  async certificate({ serverName, listener }, ctx) {
    ctx.log.info(\`asked \${++asked}: \${serverName} on \${listener}\`);
    if (serverName === "tenant.test") return ${JSON.stringify(theirs)};
    if (serverName === "broken.test") throw new Error("no authority");
    if (serverName === "slow.test") await new Promise(() => {});
  },
});
`,
      },
    });
    await sluice.waitForOutput(/TLS engine node: a plugin supplies certificates/);
    const port = sluice.port();
    const ask = (name: string) => sClient(port, ["-servername", name], name);
    assert.equal((await ask("a.test")).status, 200);
    for (let i = 0; i < 3; i++) {
      const found = await ask("tenant.test");
      assert.equal(found.status, 200, found.text);
      assert.ok(found.text.replaceAll("\n", "").includes(theirs.cert.trim().replaceAll("\n", "")));
    }
    // Nothing to show: the default certificate, on which the host is misdirected.
    assert.equal((await ask("nobody.test")).status, 421);
    assert.equal((await ask("nobody.test")).status, 421);
    // A plugin that fails closed, or is late, ends the handshake.
    for (const name of ["broken.test", "slow.test"]) {
      assert.equal(
        (await ask(name)).protocol,
        "",
        name,
      );
    }
    const lines = sluice.stderr().match(/asked \d+: \S+ on web/g);
    assert.deepEqual(lines, [
      "asked 1: tenant.test on web",
      "asked 2: nobody.test on web",
      "asked 3: broken.test on web",
      "asked 4: slow.test on web",
    ]);
    await sluice.waitForOutput(/Listener web: plugin_timeout|no answer within 3000 ms/);
  },
);

testWith(
  ["openssl"],
  "made-up names of one client leave lookups for the real name of another",
  async () => {
    using authority = new Authority();
    const own = authority.sign("a.test");
    const theirs = authority.sign("tenant.test");
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: origin.address,
        plugins: {},
        route: { plugins: ["tenants"] },
        listener: {
          protocols: ["h1"],
          tls: {
            certificates: [{ cert: own.cert, key: own.key }],
            // One at once, and the next after more than a minute.
            certificate_hook: { lookups_per_second: 5, lookups_per_client: 0.01 },
          },
        },
      }),
      plugins: {
        "tenants.ts": `import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  certificate({ serverName }, ctx) {
    ctx.log.info(\`asked: \${serverName}\`);
    if (serverName === "tenant.test") return ${JSON.stringify(theirs)};
  },
});
`,
      },
    });
    const ask = (name: string, from: string) =>
      sClient(sluice.port(), ["-servername", name, "-bind", `${from}:0`], name);
    for (let i = 1; i <= 8; i++) {
      // The default certificate, on which the host is misdirected.
      assert.equal((await ask(`made-up-${i}.test`, "127.0.0.2")).status, 421);
    }
    assert.equal((await ask("tenant.test", "127.0.0.1")).status, 200);
    // It was found, and needs no lookup any more, whoever wants it.
    assert.equal((await ask("tenant.test", "127.0.0.2")).status, 200);
    const asked = sluice.stderr().match(/asked: \S+/g);
    assert.deepEqual(asked, ["asked: made-up-1.test", "asked: tenant.test"]);
    await sluice.waitForOutput(/"made-up-2\.test": 127\.0\.0\.2 asks for too many names/);
  },
);
