/** TLS towards upstreams: whom we trust, by which name, with which certificate, and what is never shared. */
import assert from "node:assert/strict";
import type tls from "node:tls";
import { Authority, type Signed } from "../support/authority.ts";
import { configFile } from "../support/config.ts";
import { field, text } from "../support/http_text.ts";
import { get, rawRequest } from "../support/raw_client.ts";
import { testWith } from "../support/require.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";
import { startSluice } from "../support/sluice.ts";

type Values = Readonly<Record<string, unknown>>;

interface Answer {
  readonly status: number;
  readonly error: string | null;
  /** What the origin said it saw. */
  readonly seen: { sni: string | false; connection: number; client: boolean } | null;
}

/** An HTTPS origin that says what it saw of the handshake. */
function startTlsOrigin(signed: Signed, options: tls.TlsOptions = {}): Promise<SimpleOrigin> {
  return startSimpleOrigin({
    tls: { ...signed, ...options },
    handler: (_request, connection) => {
      const socket = connection.socket as tls.TLSSocket & { servername?: string | false };
      const body = JSON.stringify({
        sni: socket.servername ?? false,
        connection: connection.index,
        client: socket.authorized === true,
      });
      return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    },
  });
}

/** Asks the origin once through a proxy with these TLS keys; paths of `files` stand beside the config. */
async function ask(
  origin: SimpleOrigin,
  keys: Values | true,
  files: Readonly<Record<string, string>>,
  host = "127.0.0.1",
): Promise<Answer> {
  await using sluice = await startSluice({
    config: configFile({ origin: `${host}:${origin.port}`, transport: { tls: keys } }),
    files,
  });
  return await once(sluice.port());
}

async function once(port: number, path = "/"): Promise<Answer> {
  const answer = await rawRequest(port, get(path));
  return {
    status: answer.status,
    error: /error=(\w+)/.exec(field(answer, "proxy-status") ?? "")?.[1] ?? null,
    seen: answer.status === 200 ? JSON.parse(text(answer)) : null,
  };
}

const refused: Answer = { status: 502, error: "tls_certificate_error", seen: null };

// Pingora: tls_verify_sni_host
testWith(
  ["openssl"],
  "a certificate that bears the server name under a trusted root is taken",
  async () => {
    using authority = new Authority();
    await using origin = await startTlsOrigin(authority.sign("a.test"));
    const answer = await ask(origin, { server_name: "a.test", ca: "ca.pem" }, {
      "ca.pem": authority.ca,
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.seen!.sni, "a.test");
  },
);

testWith(
  ["openssl"],
  "an https:// endpoint by address is checked against that address",
  async () => {
    using authority = new Authority();
    await using origin = await startTlsOrigin(authority.sign("127.0.0.1"));
    await using sluice = await startSluice({
      config: configFile({
        origin: `https://127.0.0.1:${origin.port}`,
        server: { ca_file: "ca.pem" },
      }),
      files: { "ca.pem": authority.ca },
    });
    const answer = await once(sluice.port());
    assert.equal(answer.status, 200);
    assert.equal(answer.seen!.sni, false);
  },
);

// Pingora turns verification off when there is no SNI; here it stays on.
testWith(["openssl"], "without a server name the certificate is still checked", async () => {
  using authority = new Authority();
  await using origin = await startTlsOrigin(authority.sign("a.test"));
  const answer = await ask(origin, { ca: "ca.pem" }, { "ca.pem": authority.ca });
  assert.deepEqual(answer, refused);
});

testWith(["openssl"], "a certificate of an unknown root is refused", async () => {
  using authority = new Authority();
  using other = new Authority();
  await using origin = await startTlsOrigin(authority.sign("a.test"));
  const keys = { server_name: "a.test" };
  assert.deepEqual(await ask(origin, keys, {}), refused);
  assert.deepEqual(
    await ask(origin, { ...keys, ca: "ca.pem" }, { "ca.pem": other.ca }),
    refused,
  );
  assert.equal(origin.requests.length, 0);
});

testWith(["openssl"], "a certificate for another name is refused", async () => {
  using authority = new Authority();
  await using origin = await startTlsOrigin(authority.sign("a.test", "*.sub.test"));
  for (const name of ["b.test", "x.a.test", "sub.test", "x.y.sub.test"]) {
    const answer = await ask(origin, { server_name: name, ca: "ca.pem" }, {
      "ca.pem": authority.ca,
    });
    assert.deepEqual(answer, refused, name);
  }
  assert.equal(origin.requests.length, 0);
});

// Pingora: tls_no_verify
testWith(["openssl"], "verify: false takes any certificate", async () => {
  using authority = new Authority();
  await using origin = await startTlsOrigin(authority.sign("a.test"));
  const answer = await ask(origin, { server_name: "other.test", verify: false }, {});
  assert.equal(answer.status, 200);
  assert.equal(answer.seen!.sni, "other.test");
});

// Pingora: tls_verify_sni_not_host, tls_none_verify_host
testWith(["openssl"], "verify_hostname: false checks the chain alone", async () => {
  using authority = new Authority();
  using other = new Authority();
  await using origin = await startTlsOrigin(authority.sign("a.test"));
  const keys = { server_name: "other.test", verify_hostname: false, ca: "ca.pem" };
  const answer = await ask(origin, keys, { "ca.pem": authority.ca });
  assert.equal(answer.status, 200);
  assert.equal(answer.seen!.sni, "other.test");
  assert.deepEqual(await ask(origin, keys, { "ca.pem": other.ca }), refused);
});

// Pingora: tls_underscore_sub_sni, tls_underscore_non_sub_sni
testWith(
  ["openssl"],
  "an underscore in a name below a wildcard is taken, any other name is not",
  async () => {
    using authority = new Authority();
    await using origin = await startTlsOrigin(authority.sign("*.sub.test", "ab.test"));
    const files = { "ca.pem": authority.ca };
    const below = await ask(origin, { server_name: "a_b.sub.test", ca: "ca.pem" }, files);
    assert.equal(below.status, 200, JSON.stringify(below));
    const beside = await ask(origin, { server_name: "a_b.test", ca: "ca.pem" }, files);
    assert.equal(beside.status, 502);
  },
);

// Pingora: tls_alt_verify_host, tls_underscore_sub_alt_verify_host, tls_underscore_non_sub_alt_verify_host
testWith(
  ["openssl"],
  "a certificate may bear the alternative name instead, and no third one",
  async () => {
    using authority = new Authority();
    await using origin = await startTlsOrigin(authority.sign("alt.test", "*.sub.test"));
    const files = { "ca.pem": authority.ca };
    const keys = { server_name: "a.test", ca: "ca.pem" };
    const alternative = await ask(origin, { ...keys, alternative_name: "alt.test" }, files);
    assert.equal(alternative.status, 200);
    assert.equal(alternative.seen!.sni, "a.test");
    const below = await ask(origin, { ...keys, alternative_name: "a_b.sub.test" }, files);
    assert.equal(below.status, 200);
    assert.deepEqual(
      await ask(origin, { ...keys, alternative_name: "third.test" }, files),
      refused,
    );
  },
);

// Pingora: mtls_no_client_cert, mtls_no_intermediate_cert, mtls
testWith(
  ["openssl"],
  "the client certificate is shown to the origin, and its absence is the origin's to judge",
  async () => {
    using authority = new Authority();
    using other = new Authority();
    await using origin = await startTlsOrigin(authority.sign("a.test"), {
      ca: authority.ca,
      requestCert: true,
      rejectUnauthorized: false,
    });
    const client = authority.sign("client.test");
    const stranger = other.sign("client.test");
    const files = {
      "ca.pem": authority.ca,
      "c.pem": client.cert,
      "c.key": client.key,
      "s.pem": stranger.cert,
      "s.key": stranger.key,
    };
    const keys = { server_name: "a.test", ca: "ca.pem" };
    const without = await ask(origin, keys, files);
    assert.equal(without.seen?.client, false);
    const right = { cert: "c.pem", key: "c.key" };
    const with_ = await ask(origin, { ...keys, client_certificate: right }, files);
    assert.equal(with_.seen?.client, true);
    const wrong = { cert: "s.pem", key: "s.key" };
    const unknown = await ask(origin, { ...keys, client_certificate: wrong }, files);
    assert.notEqual(unknown.seen?.client, true);
  },
);

// Pingora: mtls_diff_cert_no_reuse, tls_diff_verify_no_reuse, tls_diff_verify_host_no_reuse,
// tls_diff_alt_cn_no_reuse
testWith(
  ["openssl"],
  "connections are never shared between peers that trust differently",
  async () => {
    using authority = new Authority();
    await using origin = await startTlsOrigin(authority.sign("a.test", "alt.test"), {
      ca: authority.ca,
      requestCert: true,
      rejectUnauthorized: false,
    });
    const one = authority.sign("one.test");
    const two = authority.sign("two.test");
    const base = { server_name: "a.test", ca: "ca.pem" };
    const variants: Values[] = [
      base,
      { ...base, client_certificate: { cert: "one.pem", key: "one.key" } },
      { ...base, client_certificate: { cert: "two.pem", key: "two.key" } },
      { server_name: "a.test", verify: false },
      { ...base, verify_hostname: false },
      { ...base, alternative_name: "alt.test" },
      { ...base, server_name: "alt.test" },
      { ...base, ca: "both.pem" },
    ];
    const upstreams = variants.map((keys, i) => ({
      name: `u${i}`,
      endpoints: [`127.0.0.1:${origin.port}`],
      transport: { tls: keys },
    }));
    await using sluice = await startSluice({
      config: configFile({
        upstreams,
        top: {
          services: [{
            name: "main",
            routes: upstreams.map(({ name }) => ({
              id: name,
              match: { path: `/${name}` },
              upstream: name,
            })),
          }],
        },
      }),
      files: {
        "ca.pem": authority.ca,
        "both.pem": `${authority.ca}\n${otherRoot()}`,
        "one.pem": one.cert,
        "one.key": one.key,
        "two.pem": two.cert,
        "two.key": two.key,
      },
    });
    const connections: number[] = [];
    for (let round = 0; round < 2; round++) {
      for (const [i, { name }] of upstreams.entries()) {
        const answer = await once(sluice.port(), `/${name}`);
        assert.equal(answer.status, 200, `${name}: ${JSON.stringify(answer)}`);
        if (round === 0) connections.push(answer.seen!.connection);
        else assert.equal(answer.seen!.connection, connections[i], `${name} is not pooled`);
      }
    }
    assert.equal(new Set(connections).size, variants.length);
  },
);

testWith(
  ["openssl"],
  "an origin that speaks no TLS makes a 502, and so does one that hangs up",
  async () => {
    await using origin = await startSimpleOrigin();
    await using sluice = await startSluice({
      config: configFile({
        origin: `https://127.0.0.1:${origin.port}`,
        timeouts: { tls: "2s" },
      }),
    });
    const answer = await rawRequest(sluice.port(), get("/"));
    assert.ok(answer.status === 502 || answer.status === 504, `${answer.status}`);
    assert.match(field(answer, "proxy-status")!, /error=(tls_\w+|connection_\w+)/);
  },
);

/** A root that has signed nothing here. */
function otherRoot(): string {
  using other = new Authority();
  return other.ca;
}
