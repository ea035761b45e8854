/** Pairs of certificate and key, the choice among several, and chains of clients that are checked again. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import {
  CertificateError,
  CertificateStore,
  inspectPair,
  prepare,
  readCertificates,
  type ServerCertificate,
} from "../../src/transport/certificate.ts";
import { certificateNames, extendedKeyUsage } from "../../src/transport/certificate_names.ts";
import { chainProblem, whyNotAccepted } from "../../src/transport/client_certificate.ts";
import { Authority } from "../support/authority.ts";
import { testCertificates } from "../support/certs.ts";
import { testWith } from "../support/require.ts";

testWith(["openssl"], "inspectPair() says what a certificate is for, and until when", () => {
  using authority = new Authority();
  const { cert, key } = authority.sign("A.test", "*.w.test", "127.0.0.1");
  const found = inspectPair(`text before\n${cert}\ntext behind`, key);
  assert.deepEqual(found.names, ["a.test", "*.w.test", "127.0.0.1"]);
  assert.equal(found.subject, "CN=test");
  assert.match(found.fingerprint, /^[0-9a-f]{64}$/);
  assert.ok(found.notBefore <= Date.now() && found.notAfter > Date.now());
});

testWith(["openssl"], "inspectPair() names the half that is at fault, and why", () => {
  const { ca, server, client } = testCertificates();
  const cases: [string, string, "cert" | "key", RegExp][] = [
    ["", server.key, "cert", /holds no certificate/],
    [
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
      server.key,
      "cert",
      /cannot be read/,
    ],
    [
      `${server.cert}\n${client.cert}`,
      server.key,
      "cert",
      /not in order: CN=a\.test was not issued/,
    ],
    [server.cert, "", "key", /no private key/],
    [server.cert, client.key, "key", /belongs to another certificate/],
    [
      server.cert,
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
      "key",
      /without a passphrase/,
    ],
  ];
  for (const [cert, key, half, message] of cases) {
    assert.throws(() => inspectPair(cert, key), (error) => {
      assert.ok(error instanceof CertificateError);
      assert.equal(error.half, half);
      assert.match(error.message, message);
      return true;
    });
  }
  inspectPair(`${server.cert}\n${ca}`, server.key);
  assert.deepEqual(prepare({ ...server, names: ["Other.test."] }).chosenFor, ["other.test"]);
});

function named(...chosenFor: string[]): ServerCertificate {
  return { cert: chosenFor.join(), key: "", chosenFor, names: chosenFor, fingerprint: "" };
}

Deno.test("a certificate is found by its exact name before a wildcard, and the first one wins", () => {
  const all = named("a.test", "*.w.test");
  const one = named("x.w.test", "a.test");
  const store = new CertificateStore([all, one]);
  assert.equal(store.first, all);
  assert.equal(store.find("a.test"), all);
  assert.equal(store.find("x.w.test"), one);
  assert.equal(store.find("y.w.test"), all);
  for (const name of ["w.test", "x.y.w.test", "b.test", "", "*.test"]) {
    assert.equal(store.find(name), null, name);
  }
});

testWith(["openssl"], "a chain is good by today's roots only, and while its time is", () => {
  using staff = new Authority();
  const { ca, otherCa, client, expired } = testCertificates();
  const chain = (pem: string) => readCertificates(pem);
  const now = Date.now();
  const problem = (pem: string, roots: string, time = now) =>
    chainProblem(chain(pem), chain(roots), time);
  assert.equal(problem(client.cert, ca), null);
  assert.equal(problem(client.cert, `${otherCa}\n${ca}`), null);
  assert.equal(problem(`${client.cert}\n${ca}`, ca), null);
  assert.match(problem(client.cert, otherCa)!, /trusted root/);
  assert.match(problem(client.cert, staff.ca)!, /trusted root/);
  // What a client brings along is no root.
  assert.match(problem(`${client.cert}\n${ca}`, otherCa)!, /trusted root/);
  assert.match(problem(expired.cert, ca)!, /expired/);
  assert.match(problem(client.cert, ca, now + 90 * 86_400_000)!, /expired/);
  assert.match(problem(client.cert, ca, now - 90 * 86_400_000)!, /not valid yet/);
  assert.equal(chainProblem([], chain(ca), now), "there is no certificate");
  // A certificate that is trusted itself needs nobody above it.
  assert.equal(problem(client.cert, client.cert), null);
});

testWith(
  ["openssl"],
  "a chain through an intermediate is followed, but not through one that is no authority",
  () => {
    const directory = Deno.makeTempDirSync();
    const openssl = (...args: string[]) => {
      const { success, stderr } = new Deno.Command("openssl", { args, cwd: directory })
        .outputSync();
      assert.ok(success, new TextDecoder().decode(stderr));
    };
    const sign = (name: string, issuer: string, extensions: string) => {
      openssl(
        "req",
        ...KEY,
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.csr`,
        "-subj",
        `/CN=${name}`,
      );
      Deno.writeTextFileSync(`${directory}/${name}.ext`, extensions);
      openssl("x509", "-req", "-in", `${name}.csr`, "-CA", `${issuer}.pem`, "-CAkey", ...[
        ...[`${issuer}.key`, "-CAcreateserial", "-out", `${name}.pem`, "-days", "2"],
        ...["-extfile", `${name}.ext`],
      ]);
    };
    const read = (name: string) =>
      readCertificates(Deno.readTextFileSync(`${directory}/${name}.pem`));
    try {
      openssl("req", "-x509", ...KEY, "-keyout", "root.key", "-out", "root.pem", "-days", "2", ...[
        ...["-subj", "/CN=root"],
      ]);
      sign("between", "root", "basicConstraints=critical,CA:TRUE");
      sign("leaf", "between", "extendedKeyUsage=clientAuth");
      sign("fake", "leaf", "extendedKeyUsage=clientAuth");
      const roots = read("root");
      const now = Date.now();
      assert.equal(chainProblem([...read("leaf"), ...read("between")], roots, now), null);
      assert.match(chainProblem(read("leaf"), roots, now)!, /trusted root/);
      assert.match(
        chainProblem([...read("fake"), ...read("leaf"), ...read("between")], roots, now)!,
        /trusted root/,
      );
      const [leaf] = read("leaf");
      assert.ok(leaf instanceof X509Certificate);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
);

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

testWith(["openssl"], "a name that looks like several is one", () => {
  const directory = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(
      `${directory}/odd.cnf`,
      `[req]
distinguished_name=dn
x509_extensions=v3
prompt=no
string_mask=utf8only
utf8=yes
[dn]
O=Müller\\, Söhne
OU=a, CN=admin
CN=odd
[v3]
subjectAltName=@alt
[alt]
URI.1=http://x/, DNS:evil.test
email.1=x@y.test
DNS.1=Good.test
DNS.2=a.test, DNS:b.test
IP.1=2001:db8::1
IP.2=192.0.2.1
`,
    );
    const { success, stderr } = new Deno.Command("openssl", {
      args: ["req", "-x509", ...KEY, "-keyout", "odd.key", "-out", "odd.pem", "-days", "2", ...[
        ...["-config", "odd.cnf"],
      ]],
      cwd: directory,
    }).outputSync();
    assert.ok(success, new TextDecoder().decode(stderr));
    const [odd] = readCertificates(Deno.readTextFileSync(`${directory}/odd.pem`));
    const found = certificateNames(odd!.raw);
    assert.deepEqual(found.names, [
      "good.test",
      "a.test, dns:b.test",
      "2001:db8::1",
      "192.0.2.1",
    ]);
    assert.equal(found.subject, "O=Müller\\, Söhne, OU=a\\, CN\\=admin, CN=odd");
    assert.equal(found.issuer, found.subject);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

testWith(["openssl"], "a certificate says what it is for, which may be anything", () => {
  using authority = new Authority();
  const [root] = readCertificates(authority.ca);
  const cases: [string, string[] | null, RegExp][] = [
    ["", null, /^THE CODE$/],
    ["extendedKeyUsage=clientAuth,serverAuth", [
      "1.3.6.1.5.5.7.3.2",
      "1.3.6.1.5.5.7.3.1",
    ], /^THE CODE$/],
    ["extendedKeyUsage=anyExtendedKeyUsage", ["2.5.29.37.0"], /^THE CODE$/],
    ["extendedKeyUsage=critical,emailProtection", ["1.3.6.1.5.5.7.3.4"], /^it is not for clients/],
  ];
  for (const [extensions, expected, why] of cases) {
    const [leaf] = readCertificates(authority.signFor(["a.test"], extensions).cert);
    assert.deepEqual(extendedKeyUsage(leaf!.raw), expected);
    assert.match(whyNotAccepted([leaf!], [root!], Date.now(), "THE CODE"), why);
    // What anybody can see is told first.
    assert.match(whyNotAccepted([leaf!], [], Date.now(), "THE CODE"), /trusted root: CN=Root of/);
  }
});

testWith(
  ["openssl"],
  "what is cut off anywhere is no certificate, and never anything but a RangeError",
  () => {
    const [whole] = readCertificates(testCertificates().server.cert);
    const der = new Uint8Array(whole!.raw);
    const tried = (bytes: Uint8Array) => {
      try {
        certificateNames(bytes);
        extendedKeyUsage(bytes);
      } catch (error) {
        assert.ok(error instanceof RangeError || error instanceof TypeError, String(error));
      }
    };
    for (let cut = 0; cut < der.length; cut++) {
      assert.throws(() => certificateNames(der.subarray(0, cut)));
    }
    for (let at = 0; at < der.length; at++) {
      for (const value of [0, 1, 0x7f, 0x80, 0x84, 0xff]) {
        const changed = der.slice();
        changed[at] = value;
        tried(changed);
      }
    }
  },
);
