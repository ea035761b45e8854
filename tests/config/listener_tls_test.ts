/** `listeners[].tls` and `proxy_protocol`: what is read, what is refused and where, and which engine comes of it. */
import assert from "node:assert/strict";
import { chooseTlsEngine } from "../../src/config/tls_engine.ts";
import type { ListenerConfig } from "../../src/config/types.ts";
import { testCertificates } from "../support/certs.ts";
import { testWith } from "../support/require.ts";
import { configOf, errorsOf } from "./support.ts";

function withListener(keys: Record<string, unknown>): string {
  return JSON.stringify({
    listeners: [{ name: "web", address: "127.0.0.1:8443", ...keys }],
    services: [{ name: "main", routes: [{ id: "all", upstream: "app" }] }],
    upstreams: [{ name: "app", endpoints: ["127.0.0.1:1"] }],
  });
}

function files(): Record<string, string> {
  const { ca, server, client } = testCertificates();
  return {
    "a.pem": server.cert,
    "a.key": server.key,
    "other.key": client.key,
    "ca.pem": ca,
    "text.pem": "no PEM",
    "broken.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
  };
}

const PAIR = { cert: "a.pem", key: "a.key" };

async function problems(keys: Record<string, unknown>): Promise<string[]> {
  return await errorsOf(withListener(keys), { files: files() });
}

testWith(["openssl"], "files, PEM itself and references are read", async () => {
  const { server, ca } = testCertificates();
  const { listeners: [listener] } = await configOf(
    withListener({
      tls: {
        certificates: [PAIR, { ...server, names: ["x.test"] }, {
          cert: "\${file:a.pem}",
          key: "\${file:a.key}",
        }],
        client_auth: { mode: "optional", ca: "ca.pem", hosts: [{ host: "A.test", mode: "none" }] },
      },
    }),
    { files: files() },
  );
  const { certificates, clientAuth, hostAuth, alpn } = listener!.tls!;
  assert.match(certificates[0]!.cert.file!, /\/a\.pem$/);
  assert.equal(certificates[0]!.key.pem, server.key);
  assert.deepEqual([certificates[1]!.cert.file, certificates[1]!.names], [null, ["x.test"]]);
  assert.equal(certificates[2]!.cert.pem.trim(), server.cert.trim());
  assert.equal(clientAuth!.ca!.pem, ca);
  assert.deepEqual([hostAuth[0]!.host, hostAuth[0]!.mode], ["a.test", "none"]);
  assert.deepEqual(alpn, ["h2", "http/1.1"]);
});

testWith(
  ["openssl"],
  "what is wrong with certificates is told at its key, with its file",
  async () => {
    const cases: [Record<string, unknown>, RegExp][] = [
      [{ certificates: [] }, /certificates must not be empty/],
      [
        { certificates: [{ ...PAIR, cert: "gone.pem" }] },
        /"gone\.pem" cannot be read: .*no such file/,
      ],
      [{ certificates: [{ ...PAIR, key: "gone.key" }] }, /"gone\.key" cannot be read/],
      [{ certificates: [{ ...PAIR, cert: "text.pem" }] }, /holds no certificate/],
      [
        { certificates: [{ ...PAIR, cert: "broken.pem" }] },
        /"broken\.pem" cannot be used: .*be read/,
      ],
      [{ certificates: [{ ...PAIR, key: "other.key" }] }, /"other\.key" cannot be used: .*another/],
      [{ certificates: [{ ...PAIR, names: ["a b"] }] }, /names\[0\]/],
      [
        { certificates: [{ ...PAIR, names: ["x.test"] }, { ...PAIR, names: ["X.test"] }] },
        /"x\.test" is a name of certificates\[0\] already/,
      ],
      [{ certificates: [PAIR], min_version: "1.1" }, /TLS before 1\.2 is not safe/],
      [{ certificates: [PAIR], min_version: 1.3, max_version: 1.2 }, /no version is left/],
      [{ certificates: [PAIR], handshake_timeout: "0" }, /handshake_timeout/],
      [
        { certificates: [PAIR], client_auth: { mode: "required" } },
        /"ca" is missing in client_auth/,
      ],
      [
        { certificates: [PAIR], client_auth: { hosts: [{ host: "a.test", mode: "required" }] } },
        /"ca" is missing in client_auth\.hosts\[0\]/,
      ],
      [
        { certificates: [PAIR], client_auth: { mode: "required", ca: "broken.pem" } },
        /"broken\.pem" cannot be used/,
      ],
      [{ certificates: [PAIR], forward_client_cert: "leaf" }, /clients are not asked for any/],
      [{ certificates: [PAIR], cyphers: [] }, /unknown key "cyphers"/],
      [{ certificates: [PAIR], acme: {} }, /tls\.acme is not part of this version/],
      [
        { certificates: [PAIR, { ...PAIR, names: ["b.test"] }], engine: "native" },
        /several certificates/,
      ],
      [
        { certificates: [PAIR], engine: "native", client_auth: { mode: "optional", ca: "ca.pem" } },
        /native cannot do client certificates/,
      ],
      [
        { certificates: [PAIR], engine: "native", min_version: "1.3" },
        /native cannot do a choice of/,
      ],
      [
        { certificates: [PAIR], engine: "native", unknown_name: "reject" },
        /native cannot do unknown/,
      ],
    ];
    for (const [tls, words] of cases) {
      const found = await problems({ tls });
      assert.equal(found.length, 1, `${words}: ${found.join("\n")}`);
      assert.match(found[0]!, words);
    }
  },
);

testWith(["openssl"], "secrets stay out of messages", async () => {
  const { server, client } = testCertificates();
  const found = await problems({ tls: { certificates: [{ cert: server.cert, key: client.key }] } });
  assert.match(found[0]!, /the PEM cannot be used: the private key belongs to another certificate/);
  assert.ok(!found[0]!.includes("PRIVATE KEY"));
});

Deno.test("a PROXY protocol that believes nobody, and an owner of a TCP port, are refused", async () => {
  assert.match((await problems0({ proxy_protocol: {} }))[0]!, /believes nobody/);
  assert.match((await problems0({ unix_owner: "1:1" }))[0]!, /means nothing on a TCP address/);
  assert.match((await problems0({ proxy_protocol: { trusted: ["10.0.0.0/33"] } }))[0]!, /prefix/);
  assert.deepEqual(
    await problems0({ address: "unix:/tmp/x.sock", unix_owner: "1:2", proxy_protocol: {} }),
    [],
  );
});

async function problems0(keys: Record<string, unknown>): Promise<string[]> {
  return await errorsOf(withListener(keys));
}

testWith(
  ["openssl"],
  "auto takes native where one certificate is enough, and says why not elsewhere",
  async () => {
    const plain = { hooks: { connectionFilter: false, certificate: false }, surgery: true };
    const listener = async (keys: Record<string, unknown>, outer = {}): Promise<ListenerConfig> =>
      (await configOf(withListener({ tls: { certificates: [PAIR], ...keys }, ...outer }), {
        files: files(),
      })).listeners[0]!;
    const one = await listener({});
    assert.deepEqual(chooseTlsEngine(one, plain), {
      engine: "native",
      why: "one certificate is enough",
    });
    const cases: [ListenerConfig, typeof plain, RegExp][] = [
      [one, { ...plain, surgery: false }, /ffi/],
      [one, { ...plain, hooks: { ...plain.hooks, connectionFilter: true } }, /before TLS/],
      [one, { ...plain, hooks: { ...plain.hooks, certificate: true } }, /supplies certificates/],
      [await listener({ certificates: [PAIR, { ...PAIR, names: ["b.test"] }] }), plain, /several/],
      [await listener({ client_auth: { mode: "required", ca: "ca.pem" } }), plain, /asked for/],
      [await listener({ unknown_name: "reject" }), plain, /rejected/],
      [await listener({ min_version: "1.3" }), plain, /versions/],
      [await listener({}, { proxy_protocol: { trusted: ["10.0.0.1"] } }), plain, /PROXY/],
      [await listener({}, { address: "unix:/tmp/x.sock" }), plain, /unix/],
    ];
    for (const [made, circumstances, why] of cases) {
      const choice = chooseTlsEngine(made, circumstances)!;
      assert.equal(choice.engine, "node");
      assert.match(choice.why, why);
    }
    const chosen = chooseTlsEngine(await listener({ engine: "native" }), {
      ...plain,
      surgery: false,
    });
    assert.equal(chosen!.engine, "native");
  },
);
