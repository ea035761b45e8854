import assert from "node:assert/strict";
import { HTTP2_PEER_OPTIONS } from "../../src/connector/http2_options.ts";
import { UNSUPPORTED_PEER_OPTIONS } from "../../src/connector/unsupported.ts";
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
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
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
      timeouts: { connect: 1s, tls: 2s, total_connect: 3s, first_byte: 4s, read: 5s, write: 6s,
        tunnel_idle: 14s, tunnel: 15s },
      keepalive: { max_idle: 7, idle_timeout: 0 }, max_connections: 8, max_pending: 9,
      pending_timeout: 10s, local_address: 10.0.0.9, tcp_keep_alive: 11s,
      local_address_fallback: true, max_age: 12s, max_requests: 13, prewarm: 0, group_key: g,
      proxy_protocol: v2 }`,
  ));
  assert.deepEqual(config.upstreams[0]!.options, {
    connectTimeout: 1000,
    tlsTimeout: 2000,
    totalConnectTimeout: 3000,
    firstByteTimeout: 4000,
    readTimeout: 5000,
    writeTimeout: 6000,
    tunnelIdleTimeout: 14_000,
    tunnelTimeout: 15_000,
    idleTimeout: 0,
    maxIdle: 7,
    maxConnections: 8,
    maxPending: 9,
    pendingTimeout: 10_000,
    localAddress: "10.0.0.9",
    tcpKeepAlive: 11,
    localAddressFallback: true,
    maxAge: 12_000,
    maxRequests: 13,
    prewarm: 0,
    groupKey: "g",
    proxy: null,
    proxyProtocol: "v2",
    protocol: "h1",
    http2: HTTP2_PEER_OPTIONS,
  });
  assert.equal(config.upstreams[0]!.balancing.policy, "random");
  assert.deepEqual(config.upstreams[0]!.endpoints[0]!.address, {
    kind: "unix",
    path: "/pretend/app.sock",
  });
});

Deno.test("an outer proxy is reached over TCP or a unix socket, with fields of its own", async () => {
  const config = await configOf(upstream(
    `endpoints: [https://a.example], transport: { prewarm: 2, tls: { min_version: 1.3 },
      proxy: { address: unix:./proxy.sock, headers: { Proxy-Authorization: Basic eA== } } }`,
  ));
  const { options, tls } = config.upstreams[0]!;
  assert.deepEqual(options.proxy, {
    address: { kind: "unix", path: "/pretend/proxy.sock" },
    headers: [["Proxy-Authorization", "Basic eA=="]],
  });
  assert.equal(options.prewarm, 2);
  assert.equal(tls!.minVersion, "TLSv1.3");
});

Deno.test("every option of HTTP/2 can be set", async () => {
  const config = await configOf(upstream(
    `endpoints: [https://a.example], transport: { protocol: auto, http2: {
      max_streams: 7, settings_timeout: 1s, ping_interval: 2s, ping_timeout: 3s,
      stream_window: 65535, connection_window: 1MiB, header_list_bytes: 8KiB,
      header_block_bytes: 9KiB, header_string_bytes: 7KiB, header_table_bytes: 0, continuations: 2,
      frame_bytes: 16KiB, http1_for: 4s, floods: { ping: { burst: 1, per_second: 2 } } } }`,
  ));
  const { options } = config.upstreams[0]!;
  assert.equal(options.protocol, "auto");
  assert.deepEqual(options.http2, {
    maxStreams: 7,
    settingsTimeout: 1000,
    pingInterval: 2000,
    pingTimeout: 3000,
    streamWindow: 65_535,
    connectionWindow: 1024 * 1024,
    headerListBytes: 8192,
    headerBlockBytes: 9216,
    headerStringBytes: 7168,
    headerTableBytes: 0,
    continuations: 2,
    frameBytes: 16_384,
    guard: { ...HTTP2_PEER_OPTIONS.guard, ping: { burst: 1, perSecond: 2 } },
    http1For: 4000,
  });
});

Deno.test("the protocol fits what it is spoken over", async () => {
  const cases: [string, RegExp][] = [
    ["endpoints: ['a:1'], transport: { protocol: h2 }", /h2 is HTTP\/2 over TLS/],
    ["endpoints: [https://a], transport: { protocol: h2c }", /h2c is HTTP\/2 in clear text/],
    ["endpoints: ['a:1'], transport: { http2: {} }", /when protocol is h1/],
    ["endpoints: ['a:1'], transport: { protocol: auto, http2: {} }", /auto is HTTP\/1\.1/],
    [
      "endpoints: ['a:1'], transport: { protocol: h2c, http2: { http1_for: 1s } }",
      /http1_for means nothing when protocol is h2c/,
    ],
    [
      "endpoints: ['a:1'], transport: { protocol: h2c, http2: { connection_window: 100KiB } }",
      /smaller than that of one of its streams/,
    ],
    ["endpoints: ['a:1'], transport: { protocol: h2c, http2: { max_streams: 0 } }", /max_streams/],
    [
      "endpoints: ['a:1'], transport: { protocol: h2c, http2: { frame_bytes: 1KiB } }",
      /frame_bytes/,
    ],
    ["endpoints: ['a:1'], transport: { protocol: h3 }", /"h3" is not part/],
  ];
  for (const [text, words] of cases) {
    const errors = await errorsOf(upstream(text));
    assert.equal(errors.length, 1, `${text}\n${errors.join("\n")}`);
    assert.match(errors[0]!, words);
  }
});

Deno.test("settings of connections that exclude each other are refused", async () => {
  const cases: [string, RegExp][] = [
    ["tls: { min_version: '1.3', max_version: '1.2', server_name: h }", /no version is left/],
    ["tls: { min_version: 1.1, server_name: h }", /must be 1\.2 or 1\.3.*not safe/],
    ["prewarm: 2, proxy_protocol: v1", /prewarm cannot stand beside proxy_protocol/],
    ["prewarm: 2, keepalive: { idle_timeout: 0 }", /idle_timeout is 0/],
    ["prewarm: 2, keepalive: { max_idle: 1 }", /over keepalive\.max_idle of 1/],
    ["prewarm: 2, max_connections: 1", /over max_connections of 1/],
    ["prewarm: 65", /from 0 to 64/],
    ["proxy: { address: 'https://p:1' }", /in clear text/],
    ["proxy: { address: 'p:1', headers: { host: x } }", /"host" is written by Sluice/],
    ["proxy: { address: 'p:1', headers: { connection: x } }", /belongs to the connection/],
    ["proxy: {}", /"address" is missing/],
    ["proxy_protocol: v3", /one of v1, v2, found "v3"/],
    ["local_address_fallback: true", /means nothing without local_address/],
    ["tcp_keepalive: 5s", /did you mean "tcp_keep_alive"/],
  ];
  for (const [text, words] of cases) {
    const errors = await errorsOf(upstream(`endpoints: ["h:1"], transport: { ${text} }`));
    assert.equal(errors.length, 1, `${text}\n${errors.join("\n")}`);
    assert.match(errors[0]!, words);
  }
  assert.match(
    (await errorsOf(upstream('endpoints: [unix:/a], transport: { proxy: { address: "p:1" } }')))[
      0
    ]!,
    /a unix socket cannot be reached through/,
  );
});

Deno.test("what Deno cannot set is refused by name, with the reason", async () => {
  const names = ["fast_open", "recv_buf", ...Object.keys(UNSUPPORTED_PEER_OPTIONS)];
  for (const name of names) {
    const [error, ...more] = await errorsOf(
      upstream(`endpoints: ["h:1"], transport: { ${name}: 1 }`),
    );
    assert.deepEqual(more, []);
    assert.match(error!, new RegExp(`transport\\.${name} cannot be set: \\w+`));
  }
  assert.match(
    (await errorsOf(
      upstream('endpoints: ["h:1"], transport: { tls: { server_name: h, curves: x } }'),
    ))[0]!,
    /tls\.curves cannot be set: Deno/,
  );
});

Deno.test("an endpoint has a tier and labels, and a backup is behind all others", async () => {
  const config = await configOf(upstream(
    `endpoints: ["a:1", { address: "b:1", priority: 4, labels: { zone: a } },
      { address: "c:1", backup: true, weight: 0 }]`,
  ));
  assert.deepEqual(
    config.upstreams[0]!.endpoints.map(({ weight, priority, labels }) => ({
      weight,
      priority,
      labels,
    })),
    [
      { weight: 1, priority: 0, labels: {} },
      { weight: 1, priority: 4, labels: { zone: "a" } },
      { weight: 0, priority: 5, labels: {} },
    ],
  );
  const cases: [string, RegExp][] = [
    ['{ address: "a:1", backup: true }', /all endpoints are backups/],
    ['"b:1", { address: "a:1", backup: true, priority: 1 }', /backup is a priority of its own/],
    ['{ address: "a:1", weight: 0 }, { address: "b:1", priority: 1, weight: 0 }', /all weights/],
    ['{ address: "a:1", priority: 256 }', /from 0 to 255/],
    ['{ address: "a:1", labels: { zone: 1 } }', /it is not text/],
  ];
  for (const [text, words] of cases) {
    const errors = await errorsOf(upstream(`endpoints: [${text}]`));
    assert.equal(errors.length, 1, `${text}\n${errors.join("\n")}`);
    assert.match(errors[0]!, words);
  }
});
