/**
 * Whom a peer is taken for by TLS, and what becomes of those who are somebody else. Over real sockets.
 *
 * Names are compared as RFC 9525 §6 says. An underscore is a character like any other: a name with one matches the
 * same name in a certificate, and a wildcard whose place its label takes. It is never taken for something else.
 *
 * @module
 */
import { equal, notEqual, ok, rejects } from "node:assert/strict";
import { createServer, type TlsOptions, type TLSSocket } from "node:tls";
import { type ErrorType, ProxyError } from "../../src/base/error.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerTls } from "../../src/connector/peer.ts";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import { openSockets, socketsDownTo } from "../support/recorder.ts";
import { exchange, HELLO, HOST, Use } from "./real_upstream.ts";
import { moreCertificates } from "./tls_certificates.ts";

interface Case {
  readonly name: string;
  readonly server?: () => TlsOptions;
  readonly tls: () => Partial<PeerTls>;
  /** What connecting fails with; nothing: it does not. */
  readonly error?: ErrorType;
  /** What the first exchange fails because of; nothing: it does not. In TLS 1.3 we are checked after the handshake. */
  readonly later?: ErrorType;
}

const wildcard = () => ({ ca: moreCertificates().ca });
const named = (serverName: string) => () => ({ ...wildcard(), serverName });
const onlyKnown = (more: TlsOptions = {}) => () => ({
  ...moreCertificates().wildcard,
  ca: moreCertificates().ca,
  requestCert: true,
  rejectUnauthorized: true,
  ...more,
});
const knownName = { serverName: "x.sub.test" };

const CASES: readonly Case[] = [
  { name: "the right name and root", tls: () => ({}) },
  { name: "the wrong name", tls: () => ({ serverName: "b.test" }), error: "invalid_cert" },
  {
    name: "the alternative name",
    tls: () => ({ serverName: "b.test", alternativeName: "a.test" }),
  },
  {
    name: "neither name",
    tls: () => ({ serverName: "b.test", alternativeName: "c.test" }),
    error: "invalid_cert",
  },
  {
    name: "the wrong root",
    tls: () => ({ ca: testCertificates().otherCa }),
    error: "invalid_cert",
  },
  {
    name: "a root that the system does not know",
    tls: () => ({ ca: null }),
    error: "invalid_cert",
  },
  {
    name: "an expired certificate",
    server: () => testCertificates().expired,
    tls: () => ({}),
    error: "invalid_cert",
  },
  {
    name: "an expired certificate, not verified",
    server: () => testCertificates().expired,
    tls: () => ({ verify: false }),
  },
  { name: "the wrong name, not verified", tls: () => ({ serverName: "b.test", verify: false }) },
  {
    name: "the wrong name, host not verified",
    tls: () => ({ serverName: "b.test", verifyHostname: false }),
  },
  {
    name: "the wrong root, host not verified",
    tls: () => ({ verifyHostname: false, ca: testCertificates().otherCa }),
    error: "invalid_cert",
  },
  { name: "no name: the address is checked, not nothing", tls: () => ({ serverName: "" }) },
  {
    name: "no name, and an address that the certificate does not bear",
    server: () => moreCertificates().wildcard,
    tls: () => ({ ...wildcard(), serverName: "" }),
    error: "invalid_cert",
  },
  ...[
    ["a wildcard", "x.sub.test", undefined],
    ["an underscore where the wildcard is", "a_b.sub.test", undefined],
    ["an underscore that the certificate bears", "exact_name.test", undefined],
    ["an underscore where a wildcard is not", "a_b.test", "invalid_cert"],
    ["a hyphen where the certificate bears an underscore", "exact-name.test", "invalid_cert"],
    ["two labels for one wildcard", "a.b.sub.test", "invalid_cert"],
    ["no label for a wildcard", "sub.test", "invalid_cert"],
  ].map(([name, host, error]): Case => ({
    name: name!,
    server: () => moreCertificates().wildcard,
    tls: named(host!),
    ...(error === undefined ? {} : { error: error as ErrorType }),
  })),
  {
    name: "an alternative name with an underscore",
    server: () => moreCertificates().wildcard,
    tls: () => ({ ...wildcard(), serverName: "b.test", alternativeName: "a_b.sub.test" }),
  },
  {
    name: "a client certificate where one is asked for",
    server: onlyKnown(),
    tls: () => ({ ...wildcard(), ...knownName, clientCertificate: moreCertificates().client }),
  },
  {
    name: "no client certificate where one is asked for",
    server: onlyKnown(),
    tls: () => ({ ...wildcard(), ...knownName }),
    later: "tls_handshake_failure",
  },
  {
    name: "a client certificate without its intermediate",
    server: onlyKnown(),
    tls: () => ({ ...wildcard(), ...knownName, clientCertificate: moreCertificates().bareClient }),
    later: "connection_closed",
  },
  {
    name: "TLS 1.2: a client certificate where one is asked for",
    server: onlyKnown({ maxVersion: "TLSv1.2" }),
    tls: () => ({ ...wildcard(), ...knownName, clientCertificate: moreCertificates().client }),
  },
  {
    name: "TLS 1.2: no client certificate where one is asked for",
    server: onlyKnown({ maxVersion: "TLSv1.2" }),
    tls: () => ({ ...wildcard(), ...knownName }),
    error: "tls_handshake_failure",
  },
  {
    name: "TLS 1.2: a client certificate without its intermediate",
    server: onlyKnown({ maxVersion: "TLSv1.2" }),
    tls: () => ({ ...wildcard(), ...knownName, clientCertificate: moreCertificates().bareClient }),
    error: "tls_handshake_failure",
  },
  {
    name: "a version that the server does not speak",
    server: () => ({ ...testCertificates().server, maxVersion: "TLSv1.2" }),
    tls: () => ({ minVersion: "TLSv1.3" }),
    error: "tls_handshake_failure",
  },
  {
    name: "the lowest version over the highest",
    tls: () => ({ minVersion: "TLSv1.3", maxVersion: "TLSv1.2" }),
    error: "config_error",
  },
  {
    name: "a protocol that is not spoken here",
    server: () => ({ ...testCertificates().server, ALPNProtocols: ["h2"] }),
    tls: () => ({}),
    error: "tls_handshake_failure",
  },
];

for (const { name, server, tls, error, later } of CASES) {
  Deno.test(`TLS peer: ${name}: ${error ?? later ?? "fine"}`, { ignore: !hasOpenssl }, async () => {
    const before = openSockets();
    {
      await using origin = await TlsOrigin.start(server?.() ?? testCertificates().server);
      await using use = new Use();
      const peer = origin.peer(tls());
      const connecting = use.connector.connect(peer, "GET");
      if (error === undefined) {
        const session = await connecting;
        if (later === undefined) equal(await exchange(session), "200 hello");
        else {
          await rejects(exchange(session), (error) => {
            ok(error instanceof ProxyError && error.source === "upstream");
            equal(error.type, later);
            return true;
          });
        }
        session.abort();
      } else {
        await rejects(connecting, {
          type: error,
          source: error === "config_error" ? "internal" : "upstream",
        });
        equal(use.connector.stats().history.get(peer.label)!.failures[error], 1);
      }
    }
    equal(await socketsDownTo(before), before);
  });
}

Deno.test("the versions that a peer allows are those that are spoken", {
  ignore: !hasOpenssl,
}, async () => {
  await using origin = await TlsOrigin.start(testCertificates().server);
  await using use = new Use();
  for (
    const [tls, version] of [
      [{ maxVersion: "TLSv1.2" }, "TLSv1.2"],
      [{ minVersion: "TLSv1.3" }, "TLSv1.3"],
      [{}, "TLSv1.3"],
    ] as const
  ) {
    const session = await use.connector.connect(origin.peer(tls), "GET");
    equal(session.connection.tls!.version, version);
    session.abort();
  }
  ok(use.connector.stats().history.get(origin.peer({}).label)!.tls.count === 3);
});

Deno.test("peers that differ in certificate, verification or names never share a connection", {
  ignore: !hasOpenssl,
}, async () => {
  await using origin = await TlsOrigin.start(testCertificates().server);
  await using use = new Use();
  const { client, ca, otherCa } = testCertificates();
  const peers = [
    {},
    { clientCertificate: client },
    { clientCertificate: { ...client, cert: client.cert + ca } },
    { verify: false },
    { verifyHostname: false },
    { alternativeName: "c.test" },
    { ca: ca + otherCa },
    { minVersion: "TLSv1.3" },
    { maxVersion: "TLSv1.2" },
  ].map((tls) => origin.peer(tls as Partial<PeerTls>));
  for (const peer of peers) equal(await use.fetch(peer), "200 hello");
  equal(origin.accepted, peers.length);
  for (const peer of peers) {
    const session = use.connector.take(peer, "GET");
    notEqual(session, null);
    equal(use.connector.take(peer, "GET"), null);
    session!.abort();
  }
  await rejects(use.connector.connect(origin.peer({ ca: otherCa }), "GET"), {
    type: "invalid_cert",
  });
});

/** A TLS origin on node:tls, which can ask for certificates. */
class TlsOrigin {
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<TLSSocket>();
  accepted = 0;

  private constructor(options: TlsOptions) {
    this.#server = createServer(options, (socket) => {
      this.accepted++;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("data", () => socket.write(HELLO));
    });
    this.#server.on("tlsClientError", () => {});
  }

  static async start(options: TlsOptions): Promise<TlsOrigin> {
    const origin = new TlsOrigin(options);
    await new Promise<void>((resolve) => origin.#server.listen(0, HOST, resolve));
    return origin;
  }

  peer(tls: Partial<PeerTls>): Peer {
    return createPeer({
      address: { kind: "tcp", host: HOST, port: (this.#server.address() as { port: number }).port },
      tls: {
        serverName: "a.test",
        alternativeName: null,
        verify: true,
        verifyHostname: true,
        ca: testCertificates().ca,
        clientCertificate: null,
        ...tls,
      },
      options: { ...PEER_OPTIONS, readTimeout: 5_000, firstByteTimeout: 5_000 },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
