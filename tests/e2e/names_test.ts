/** Upstreams by name, by IPv6 address, and by what a plugin names itself. */
import assert from "node:assert/strict";
import { hasIpv6 } from "../support/ipv6.ts";
import { Authority } from "../support/authority.ts";
import { configFile } from "../support/config.ts";
import { field, text } from "../support/http_text.ts";
import { plugin } from "../support/plugin_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { testWith } from "../support/require.ts";
import { pattern, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

Deno.test("an upstream may be a host name, and its connections are used again", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({ upstream: `http://localhost:${origin.port}` });
  await using client = await RawClient.connect(sluice.port());
  for (let i = 0; i < 3; i++) assert.equal(text(await client.request(get("/bytes/5"))), pattern(5));
  assert.equal(origin.raw.connections.length, 1);
});

testWith(
  ["openssl"],
  "an https:// endpoint by name asks for that name and is checked against it",
  async () => {
    using authority = new Authority();
    await using right = await startSimpleOrigin({ tls: authority.sign("localhost") });
    await using wrong = await startSimpleOrigin({ tls: authority.sign("other.test") });
    for (const [origin, status] of [[right, 200], [wrong, 502]] as const) {
      await using sluice = await startSluice({
        config: configFile({
          origin: `https://localhost:${origin.port}`,
          server: { ca_file: "ca.pem" },
        }),
        files: { "ca.pem": authority.ca },
      });
      assert.equal((await rawRequest(sluice.port(), get("/bytes/5"))).status, status);
    }
  },
);

const IPV6: Deno.TestDefinition = {
  name: "IPv6 works on both sides",
  fn: async () => {
    const listener = Deno.listen({ hostname: "::1", port: 0 });
    const serving = (async () => {
      const connection = await listener.accept();
      await connection.read(new Uint8Array(4096));
      await connection.write(
        new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nsi"),
      );
      return connection;
    })();
    try {
      await using sluice = await startSluice({
        upstream: `http://[::1]:${listener.addr.port}`,
        listen: "[::1]:0",
      });
      const client = await Deno.connect({ hostname: "::1", port: sluice.port() });
      await client.write(new TextEncoder().encode(get("/")));
      const buffer = new Uint8Array(4096);
      const count = await client.read(buffer);
      assert.match(new TextDecoder().decode(buffer.subarray(0, count ?? 0)), /^HTTP\/1\.1 200 /);
      client.close();
      const [line] = await sluice.waitForAccessLog(1);
      assert.equal(line!["client.address"], "::1");
      (await serving).close();
    } finally {
      listener.close();
    }
  },
};

// A machine without IPv6 has nothing to show here, and no package would bring it.
if (hasIpv6()) Deno.test(IPV6);

Deno.test("a plugin may name a peer itself, where the operator allows that peer", async () => {
  await using origin = await startSimpleOrigin();
  await using sluice = await startSluice({
    config: configFile({
      server: { allowed_peers: [origin.address] },
      route: { plugins: ["choose"] },
      plugins: {},
    }),
    plugins: {
      "choose.ts": plugin(`
        upstreamPeer(session) {
          return session.request.path === "/elsewhere" ? "127.0.0.1:1" : "${origin.address}";
        },`),
    },
  });
  assert.equal(text(await rawRequest(sluice.port(), get("/bytes/7"))), pattern(7));
  const refused = await rawRequest(sluice.port(), get("/elsewhere"));
  assert.ok(refused.status >= 500, `${refused.status}`);
  assert.notEqual(field(refused, "proxy-status"), null);
  const [line] = await sluice.waitForAccessLog(1);
  assert.equal(line!["upstream.address"], origin.address);
});
