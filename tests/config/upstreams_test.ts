import assert from "node:assert/strict";
import { configOf, errorsOf } from "./support.ts";

const CERT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

function upstream(text: string, server = ""): string {
  return `listeners: [{ address: ":8080" }]
services: [{ name: edge, routes: [{ upstream: app }] }]
upstreams:
  - { name: app, ${text} }
${server}`;
}

Deno.test("an https endpoint turns TLS on, with its host as the name", async () => {
  const config = await configOf(upstream("endpoints: [https://api.example]"));
  assert.deepEqual(config.upstreams[0]!.endpoints[0]!.address, {
    kind: "tcp",
    host: "api.example",
    port: 443,
  });
  assert.deepEqual(config.upstreams[0]!.tls, {
    serverName: "api.example",
    alternativeName: null,
    verify: true,
    verifyHostname: true,
    ca: null,
    clientCertificate: null,
  });
});

Deno.test("TLS files are read at load, relative to the config", async () => {
  const config = await configOf(
    upstream(
      'endpoints: ["10.0.0.1:1", { address: "10.0.0.2:1", weight: 3 }], transport: { tls: { server_name: api, ca: ca.pem, client_certificate: { cert: c.pem, key: k.pem } } }',
    ),
    { files: { "ca.pem": CERT, "c.pem": CERT, "k.pem": KEY } },
  );
  const tls = config.upstreams[0]!.tls!;
  assert.equal(tls.ca, CERT);
  assert.deepEqual(tls.clientCertificate, { cert: CERT, key: KEY });
  assert.equal(tls.serverName, "api");
  assert.deepEqual(config.upstreams[0]!.endpoints.map((one) => one.weight), [1, 3]);
});

Deno.test("the roots of the server hold where an upstream names none", async () => {
  const config = await configOf(
    upstream("endpoints: [https://a.example]", "server: { ca_file: roots.pem }\n"),
    { files: { "roots.pem": CERT } },
  );
  assert.equal(config.upstreams[0]!.tls!.ca, CERT);
});

Deno.test("a file that is missing, or is not what it should be, is an error at its place", async () => {
  const text = upstream("endpoints: [https://a.example], transport: { tls: { ca: ca.pem } }");
  assert.match((await errorsOf(text))[0]!, /^4:74 "ca\.pem" cannot be read: there is no such file/);
  assert.match(
    (await errorsOf(text, { files: { "ca.pem": KEY } }))[0]!,
    /the file holds no certificate/,
  );
});

Deno.test("endpoints and transport must agree on TLS", async () => {
  const cases: [string, RegExp][] = [
    ["endpoints: [https://a, http://b]", /one upstream/],
    ["endpoints: [http://a], transport: { tls: true }", /beside transport\.tls/],
    ["endpoints: [https://a], transport: { tls: false }", /tls is false/],
    ['endpoints: [https://a, "b:1"]', /has no scheme/],
    ["endpoints: [https://a, https://b]", /different hosts/],
    ["endpoints: [unix:/x], transport: { tls: true }", /name to ask for/],
    ["endpoints: [https://a/path]", /it has a path/],
    ["endpoints: [ftp://a]", /scheme "ftp" is not known/],
    ["endpoints: [https://u:p@a]", /user name or password/],
    ['endpoints: ["a:0"]', /port 0/],
    ['endpoints: [":80"]', /the host is missing/],
    ['endpoints: ["1.2.3:80"]', /IPv4 address/],
    ['endpoints: ["a..b:80"]', /no valid host name/],
    ['endpoints: ["a:1", "a:1"]', /is the same as endpoints\[0\]/],
    ["endpoints: []", /must not be empty/],
  ];
  for (const [text, words] of cases) {
    const errors = await errorsOf(upstream(text));
    assert.equal(errors.length, 1, `${text}\n${errors.join("\n")}`);
    assert.match(errors[0]!, words);
  }
});

Deno.test("every peer option can be set", async () => {
  const config = await configOf(upstream(
    `endpoints: [unix:./app.sock], load_balancing: { policy: random }, transport: {
      timeouts: { connect: 1s, tls: 2s, total_connect: 3s, first_byte: 4s, read: 5s, write: 6s },
      keepalive: { max_idle: 7, idle_timeout: 0 }, max_connections: 8, max_pending: 9,
      pending_timeout: 10s, local_address: 10.0.0.9, tcp_keep_alive: 11s }`,
  ));
  assert.deepEqual(config.upstreams[0]!.options, {
    connectTimeout: 1000,
    tlsTimeout: 2000,
    totalConnectTimeout: 3000,
    firstByteTimeout: 4000,
    readTimeout: 5000,
    writeTimeout: 6000,
    idleTimeout: 0,
    maxIdle: 7,
    maxConnections: 8,
    maxPending: 9,
    pendingTimeout: 10_000,
    localAddress: "10.0.0.9",
    tcpKeepAlive: 11,
  });
  assert.equal(config.upstreams[0]!.policy, "random");
  assert.deepEqual(config.upstreams[0]!.endpoints[0]!.address, {
    kind: "unix",
    path: "/pretend/app.sock",
  });
});
