/** What `check` and the start say of TLS on listeners: which engine, why, and what is missing. */
import assert from "node:assert/strict";
import { Authority } from "../support/authority.ts";
import { testCertificates } from "../support/certs.ts";
import { testWith } from "../support/require.ts";
import { runSluice, startSluice } from "../support/sluice.ts";

/** All but `ffi`. */
const RIGHTS = ["net", "read", "write", "env", "sys", "run"].map((right) => `--allow-${right}`);

const CONFIG = JSON.stringify({
  listeners: [
    {
      name: "forced",
      address: "127.0.0.1:0",
      tls: { engine: "native", certificates: [{ cert: "a.pem", key: "a.key" }] },
    },
    {
      name: "auto",
      address: "127.0.0.1:0",
      tls: { certificates: [{ cert: "a.pem", key: "a.key" }] },
    },
    {
      name: "old",
      address: "127.0.0.1:0",
      tls: { certificates: [{ cert: "old.pem", key: "old.key" }], min_version: "1.3" },
    },
    { name: "behind", address: "127.0.0.1:0", proxy_protocol: { trusted: ["10.0.0.0/8"] } },
  ],
  services: [{ name: "main", routes: [{ id: "all", rules: [{ respond: { status: 204 } }] }] }],
});

function files(authority: Authority): Record<string, string> {
  const own = authority.sign("a.test", "*.w.test");
  const { expired } = testCertificates();
  return { "a.pem": own.cert, "a.key": own.key, "old.pem": expired.cert, "old.key": expired.key };
}

testWith(
  ["openssl"],
  "check says which engine a listener gets, why, and when certificates expire",
  async () => {
    using authority = new Authority();
    const options = { config: CONFIG, files: files(authority) };
    const { code, stdout } = await runSluice((at) => ["check", "-c", `${at}/sluice.yaml`], options);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /Listener forced\n {2}TLS engine +native: the config says so\n/);
    assert.match(stdout, /Listener auto\n {2}TLS engine +native: one certificate is enough\n/);
    assert.match(stdout, /certificate +a\.test, \*\.w\.test; expires on \d{4}-\d\d-\d\d, in 1 day/);
    assert.match(stdout, /Listener old\n {2}TLS engine +node: versions are chosen\n/);
    assert.match(stdout, /EXPIRED on 2020-01-02/);
    assert.match(stdout, /PROXY header +taken from 10\.0\.0\.0\/8, within 5s/);
    const json = await runSluice((at) => ["check", "--json", "-c", `${at}/sluice.yaml`], options);
    const [forced] = JSON.parse(json.stdout).listeners;
    assert.equal(forced.tls.engine, "native");
    assert.deepEqual(forced.tls.certificates[0].names, ["a.test", "*.w.test"]);
    assert.match(forced.tls.certificates[0].fingerprint, /^[0-9a-f]{64}$/);
    const dumped = await runSluice((at) => ["config", "dump", "-c", `${at}/sluice.yaml`], options);
    assert.match(dumped.stdout, /"pem": "\(PEM\)"/);
    assert.ok(!dumped.stdout.includes("BEGIN"));
  },
);

testWith(
  ["openssl"],
  "without the right ffi auto takes node, and native is warned of",
  async () => {
    using authority = new Authority();
    const options = { config: CONFIG, files: files(authority), rights: RIGHTS };
    const { stdout } = await runSluice((at) => ["check", "-c", `${at}/sluice.yaml`], options);
    assert.match(
      stdout,
      /Listener forced\n {2}TLS engine +native: .*\n {2}warning +without --allow-ffi/,
    );
    assert.match(stdout, /Listener auto\n {2}TLS engine +node: without the right ffi/);
    await using sluice = await startSluice(options);
    await sluice.waitForOutput(/WARN.*Listener forced: without the right ffi/);
    await sluice.waitForOutput(/ERROR.*Listener old: the certificate for .* has expired/);
    for (const listener of ["forced", "auto"]) {
      const client = await Deno.connectTls({
        hostname: "127.0.0.1",
        port: sluice.port(listener),
        caCerts: [authority.ca],
        unsafelyDisableHostnameVerification: true,
      });
      await client.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
      const buffer = new Uint8Array(100);
      const length = await client.read(buffer);
      assert.match(new TextDecoder().decode(buffer.subarray(0, length!)), /^HTTP\/1\.1 204 /);
      client.close();
    }
  },
);
