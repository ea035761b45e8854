/** The runtime's own TLS without a remedy for what it leaves open, and certificates that change below a listener. */
import assert from "node:assert/strict";
import type { ProxyError } from "../../src/base/error.ts";
import type { TcpAddress } from "../../src/transport/address.ts";
import { KernelSockets } from "../../src/transport/kernel_sockets.ts";
import { listen } from "../../src/transport/listen.ts";
import type { ListenOptions } from "../../src/transport/listener.ts";
import type { Socket } from "../../src/transport/socket.ts";
import { testCertificates } from "../support/certs.ts";
import { eventually } from "../support/deadline.ts";
import { testWith } from "../support/require.ts";
import { credentials, tlsServer } from "../support/tls_server.ts";

const HOST = "127.0.0.1";

async function start(parts: Partial<ListenOptions> = {}, handshakeTimeout: number = 300) {
  const { ca, server } = testCertificates();
  const tls = tlsServer([server], { handshakeTimeout });
  const sockets: Socket[] = [];
  const refused: ProxyError[] = [];
  const listener = await listen({
    name: "test",
    address: { kind: "tcp", host: HOST, port: 0 },
    tls: { engine: "native", server: tls },
    onSocket: (socket) => sockets.push(socket),
    onError: (error) => refused.push(error),
    onRefused: (error) => refused.push(error),
    ...parts,
  });
  const { port } = listener.address as TcpAddress;
  return { listener, sockets, refused, port, ca, tls };
}

testWith(
  ["openssl"],
  "native, no remedy: a stalled handshake counts until its client goes",
  async () => {
    const { listener, refused, port } = await start({ maxConnections: 2 });
    const clients = [
      await Deno.connect({ hostname: HOST, port }),
      await Deno.connect({ hostname: HOST, port }),
    ];
    await eventually(() => refused.length === 2, "the deadlines");
    assert.ok(refused.every(({ type }) => type === "tls_handshake_timeout"));
    assert.equal(listener.connectionCount, 2, "they keep their places");
    // A third one costs nothing: it waits in the kernel until there is a place.
    const third = await Deno.connect({ hostname: HOST, port });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual([listener.accepted, listener.rejected], [2, 0]);
    clients.shift()!.close();
    await eventually(() => listener.accepted === 3, "the third");
    clients.push(third);
    for (const client of clients) client.close();
    await eventually(() => listener.connectionCount === 0, "their end");
    listener.close();
  },
);

testWith(
  ["openssl"],
  "native, no remedy: a client that does not read counts until it goes",
  async () => {
    const { listener, sockets, port, ca } = await start({}, 5_000);
    const client = await Deno.connectTls({ hostname: HOST, port, caCerts: [ca] });
    await client.handshake();
    await eventually(() => sockets.length === 1, "the connection");
    const piece = new Uint8Array(1024 * 1024);
    for (let i = 0; i < 64; i++) sockets[0]!.write(piece);
    sockets[0]!.destroy();
    assert.equal(sockets[0]!.closed, true);
    assert.equal(listener.connectionCount, 1);
    client.close();
    await eventually(() => listener.connectionCount === 0, "its end");
    listener.close();
  },
);

testWith(
  ["openssl"],
  "native, no remedy: a client that is not admitted counts until it goes",
  async () => {
    const { listener, refused, port } = await start({
      admission: { needed: true, ask: () => Promise.resolve(false) },
    });
    const client = await Deno.connect({ hostname: HOST, port });
    await eventually(() => refused.length === 1, "the refusal");
    assert.equal(refused[0]!.type, "denied");
    assert.equal(listener.connectionCount, 1);
    client.close();
    await eventually(() => listener.connectionCount === 0, "its end");
    listener.close();
  },
);

testWith(
  ["openssl"],
  "native: an idle connection is given back at once, with and without a goodbye",
  async () => {
    for (const way of ["close", "destroy"] as const) {
      const { listener, sockets, port, ca } = await start({}, 5_000);
      const client = await Deno.connectTls({ hostname: HOST, port, caCerts: [ca] });
      await client.handshake();
      await eventually(() => sockets.length === 1, "the connection");
      sockets[0]!.handler = {
        readBuffer: () => new Uint8Array(10),
        onRead: () => {},
        onDrain: () => {},
        onError: () => {},
      };
      sockets[0]!.read();
      sockets[0]![way]();
      await eventually(() => listener.connectionCount === 0, `the end by ${way}`);
      assert.equal(await client.read(new Uint8Array(1)), null);
      client.close();
      listener.close();
    }
  },
);

testWith(
  ["openssl"],
  "native: another certificate is shown to new connections, and none is lost",
  async () => {
    const { listener, sockets, port, tls } = await start({}, 5_000);
    const { ca, client: other } = testCertificates();
    const show = async () => {
      const connection = await Deno.connectTls({ hostname: HOST, port, caCerts: [ca] });
      await connection.handshake();
      return connection;
    };
    const first = await show();
    const waiting = Promise.all(Array.from({ length: 50 }, show));
    tls.replace(credentials([other]));
    tls.replace(credentials([other]));
    const all = [first, ...await waiting, await show()];
    await eventually(() => sockets.length === all.length, "all connections");
    assert.deepEqual(sockets[0]!.tls!.ownNames, ["a.test", "127.0.0.1"]);
    assert.deepEqual(sockets.at(-1)!.tls!.ownNames, ["client.test", "127.0.0.1"]);
    listener.close();
    for (const connection of all) connection.close();
    for (const socket of sockets) socket.destroy();
  },
);

testWith(
  ["openssl"],
  "libc finds a listening socket, and cuts a connection by its ends",
  async () => {
    const kernel = KernelSockets.load();
    // Other systems do without.
    if (Deno.build.os !== "linux") return;
    assert.ok(kernel !== null);
    for (const hostname of ["127.0.0.1", "::1"]) {
      const listener = Deno.listen({ hostname, port: 0 });
      const address = { kind: "tcp", host: hostname, port: listener.addr.port } as const;
      assert.equal(kernel.noDelay(address), true);
      assert.equal(kernel.noDelay({ ...address, port: 1 }), false);
      const [near, far] = await Promise.all([
        listener.accept(),
        Deno.connect({ hostname, port: address.port }),
      ]);
      const { port } = far.localAddr as Deno.NetAddr;
      const ends = { local: address, remote: { ...address, port } };
      assert.equal(kernel.cut([{ ...ends, remote: { ...address, port: 1 } }]), 0);
      assert.equal(kernel.cut([ends]), 1);
      assert.equal(await far.read(new Uint8Array(1)), null);
      assert.equal(await near.read(new Uint8Array(1)), null);
      for (const one of [near, far, listener]) one.close();
    }
    kernel.close();
  },
);
