/**
 * The connector over real sockets: what it times out, what it notices, and that nothing stays open.
 *
 * @module
 */
import { equal, ok, rejects } from "node:assert/strict";
import { ProxyError } from "../../src/base/error.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerOptions } from "../../src/connector/peer.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import { deaf } from "../support/deaf.ts";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import { openSockets, settle, socketsDownTo } from "../support/recorder.ts";
import { exchange, HOST, Use } from "./real_upstream.ts";

const ENGINES = handleEngineAvailable() ? ["deno", "handle"] as const : ["deno"] as const;

for (const engine of ENGINES) {
  Deno.test(`${engine}: exchanges run over one connection after the other`, async () => {
    await using origin = await Origin.start();
    await using use = new Use(engine);
    const peer = origin.peer({});
    for (let i = 1; i <= 3; i++) {
      const session = use.connector.take(peer, "GET") ?? await use.connector.connect(peer, "GET");
      equal(session.reused, i > 1);
      equal(await exchange(session), "200 hello");
      session.release();
    }
    equal(origin.accepted, 1);
    const { opened, reused, idle } = use.connector.stats();
    equal(`${opened} ${reused} ${idle}`, "1 2 1");
  });

  Deno.test(`${engine}: an idle connection that the peer closes, or on which it talks, leaves the pool`, async () => {
    await using origin = await Origin.start();
    await using use = new Use(engine);
    const peer = origin.peer({});
    for (const end of ["close", "talk"] as const) {
      const session = await use.connector.connect(peer, "GET");
      equal(await exchange(session), "200 hello");
      session.release();
      equal(use.connector.stats().idle, 1);
      if (end === "close") origin.connections.at(-1)!.close();
      else {await origin.connections.at(-1)!.write(
          new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"),
        );}
      for (let i = 0; i < 500 && use.connector.stats().idle > 0; i++) await settle(1);
      equal(use.connector.take(peer, "GET"), null);
    }
    equal(use.connector.stats().closed, 2);
  });

  Deno.test(`${engine}: who waits for a place gets the connection that is released`, async () => {
    await using origin = await Origin.start();
    await using use = new Use(engine);
    const peer = origin.peer({ maxConnections: 1 });
    const first = await use.connector.connect(peer, "GET");
    const waiting = [1, 2, 3].map(async () => {
      const session = await use.connector.connect(peer, "GET");
      const answer = await exchange(session);
      session.release();
      return answer;
    });
    equal(use.connector.stats().pending, 3);
    equal(await exchange(first), "200 hello");
    first.release();
    equal((await Promise.all(waiting)).join(), "200 hello,200 hello,200 hello");
    equal(origin.accepted, 1);
    const broken = await use.connector.connect(peer, "GET");
    const next = use.connector.connect(peer, "GET");
    broken.abort();
    const session = await next;
    equal(session.reused, false);
    equal(await exchange(session), "200 hello");
    session.release();
    equal(origin.accepted, 2);
  });

  Deno.test(`${engine}: a refused connection says so, and leaves no pool behind`, async () => {
    const listener = Deno.listen({ hostname: HOST, port: 0 });
    const { port } = listener.addr;
    listener.close();
    await using use = new Use(engine);
    await rejects(use.connector.connect(tcpPeer(port, {}), "GET"), {
      type: "connect_refused",
      source: "upstream",
      retry: true,
    });
    equal(use.connector.stats().perPeer.size, 0);
  });

  Deno.test(`${engine}: connectTimeout and totalConnectTimeout end an attempt`, async () => {
    const { port, close } = await deaf();
    await using use = new Use(engine);
    const before = openSockets();
    for (
      const options of [
        { connectTimeout: 50, totalConnectTimeout: 60_000 },
        { connectTimeout: 60_000, totalConnectTimeout: 50 },
      ]
    ) {
      const start = performance.now();
      await rejects(use.connector.connect(tcpPeer(port, options), "GET"), {
        type: "connect_timeout",
        source: "upstream",
      });
      ok(performance.now() - start < 20_000);
    }
    equal(await socketsDownTo(before), before);
    close();
  });

  Deno.test(`${engine}: 500 connects and aborts leave nothing open`, async () => {
    await using origin = await Origin.start();
    const before = openSockets();
    {
      await using use = new Use(engine);
      const peer = origin.peer({ maxConnections: 20, maxPending: 5 });
      let served = 0;
      let failed = 0;
      for (let round = 0; round < 20; round++) {
        await Promise.all(Array.from({ length: 25 }, async (_, i) => {
          const abort = new AbortController();
          const connecting = use.connector.connect(peer, "GET", abort.signal);
          if (i % 3 === 0) abort.abort();
          else if (i % 3 === 1) queueMicrotask(() => abort.abort());
          try {
            const session = await connecting;
            if (i % 2 === 0) {
              session.abort();
            } else {
              equal(await exchange(session), "200 hello");
              session.release();
            }
            served++;
          } catch (error) {
            ok(error instanceof ProxyError, String(error));
            failed++;
          }
        }));
      }
      ok(served > 100 && failed > 100, `${served} served, ${failed} failed`);
      equal(use.connector.stats().active, 0);
    }
    origin.closeConnections();
    equal(await socketsDownTo(before), before);
  });
}

Deno.test("TLS peers: exchanges over a pooled connection, one pool per identity", {
  ignore: !hasOpenssl,
}, async () => {
  const { ca, otherCa, server } = testCertificates();
  await using origin = await Origin.start(server);
  await using use = new Use("deno");
  const tls = {
    serverName: "a.test",
    alternativeName: null,
    verify: true,
    verifyHostname: true,
    ca,
    clientCertificate: null,
  };
  const peer = createPeer({ address: origin.address, tls });
  for (let i = 1; i <= 2; i++) {
    const session = await use.connector.connect(peer, "GET");
    equal(session.reused, i > 1);
    equal(session.connection.tls?.version, "TLSv1.3");
    equal(await exchange(session), "200 hello");
    session.release();
  }
  const strict = createPeer({ address: origin.address, tls: { ...tls, ca: otherCa } });
  equal(use.connector.take(strict, "GET"), null);
  await rejects(use.connector.connect(strict, "GET"), { type: "invalid_cert", source: "upstream" });
});

Deno.test("TLS peers: tlsTimeout and totalConnectTimeout end a handshake that hangs", {
  ignore: !hasOpenssl,
}, async () => {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const before = openSockets();
  await using use = new Use("deno");
  const tls = {
    serverName: "a.test",
    alternativeName: null,
    verify: true,
    verifyHostname: true,
    ca: null,
    clientCertificate: null,
  };
  const address = { kind: "tcp", host: HOST, port: listener.addr.port } as const;
  for (
    const [options, type] of [
      [{ tlsTimeout: 50 }, "tls_handshake_timeout"],
      [{ tlsTimeout: 60_000, totalConnectTimeout: 60 }, "connect_timeout"],
    ] as const
  ) {
    const peer = createPeer({ address, tls, options: { ...PEER_OPTIONS, ...options } });
    const connecting = rejects(use.connector.connect(peer, "GET"), { type, source: "upstream" });
    const other = await listener.accept();
    await connecting;
    other.close();
  }
  equal(await socketsDownTo(before), before);
  listener.close();
});

Deno.test("a peer on a unix socket works like any other", async () => {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/origin.sock`;
  const listener = Deno.listen({ transport: "unix", path });
  const serving = listener.accept().then(answerAll);
  {
    await using use = new Use("handle");
    const session = await use.connector.connect(
      createPeer({ address: { kind: "unix", path } }),
      "GET",
    );
    equal(await exchange(session), "200 hello");
    session.release();
  }
  await serving;
  listener.close();
  Deno.removeSync(directory, { recursive: true });
});

/** An origin that answers every request with `hello`. */
class Origin {
  readonly listener: Deno.Listener;
  readonly connections: Deno.Conn[] = [];
  accepted = 0;
  readonly #serving: Promise<void>;

  private constructor(listener: Deno.Listener) {
    this.listener = listener;
    this.#serving = this.#serve();
  }

  static start(certificate?: { cert: string; key: string }): Promise<Origin> {
    const where = { hostname: HOST, port: 0 };
    return Promise.resolve(
      new Origin(certificate ? Deno.listenTls({ ...where, ...certificate }) : Deno.listen(where)),
    );
  }

  get address(): { kind: "tcp"; host: string; port: number } {
    return { kind: "tcp", host: HOST, port: (this.listener.addr as Deno.NetAddr).port };
  }

  peer(options: Partial<PeerOptions>): Peer {
    return tcpPeer(this.address.port, options);
  }

  closeConnections(): void {
    for (const one of this.connections.splice(0)) {
      try {
        one.close();
      } catch {
        // It ended by itself.
      }
    }
  }

  async #serve(): Promise<void> {
    for (;;) {
      try {
        const connection = await this.listener.accept();
        this.accepted++;
        this.connections.push(connection);
        answerAll(connection);
      } catch {
        return;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.close();
    await this.#serving;
    this.closeConnections();
  }
}

async function answerAll(connection: Deno.Conn): Promise<void> {
  const into = new Uint8Array(4096);
  const answer = new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  try {
    while (await connection.read(into) !== null) await connection.write(answer);
    connection.close();
  } catch {
    // The other side is gone, or the test is over.
  }
}

function tcpPeer(port: number, options: Partial<PeerOptions>): Peer {
  return createPeer({
    address: { kind: "tcp", host: HOST, port },
    options: { ...PEER_OPTIONS, ...options },
  });
}
