/**
 * Every socket engine, each with a plain peer at the other end.
 *
 * @module
 */
import type { Address } from "../../src/transport/address.ts";
import { dial } from "../../src/transport/dial.ts";
import { listen } from "../../src/transport/listen.ts";
import { epollAvailable } from "../../src/transport/epoll/system_calls.ts";
import type { TlsEngine } from "../../src/transport/listener.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import type { Socket, SocketEngine } from "../../src/transport/socket.ts";
import { tlsDial } from "../../src/transport/tls_dial.ts";
import { hasOpenssl, testCertificates } from "../support/certs.ts";
import { tlsServer } from "../support/tls_server.ts";
import { listenBy } from "./listen_by.ts";

/** The other end of a connection: a Deno connection. */
export type Other = Pick<Deno.TcpConn, "read" | "write" | "close" | "closeWrite">;

/** A socket under test and its other end. */
export interface Pair {
  readonly socket: Socket;
  readonly other: Other;
}

/** One way to get a connection. */
export interface EngineCase {
  readonly name: string;
  readonly ignore: boolean;
  /** Whether the connection has TLS facts. */
  readonly tls: boolean;
  /** Makes a connection. */
  pair(): Promise<Pair>;
}

const HOST = "127.0.0.1";

export const ENGINES: readonly EngineCase[] = [
  {
    name: "deno, dialled",
    ignore: false,
    tls: false,
    pair: () =>
      dialled((port) =>
        dial({ kind: "tcp", host: HOST, port }, { timeout: 5_000, tcpKeepAlive: 60 })
      ),
  },
  { name: "deno, accepted", ignore: false, tls: false, pair: () => accepted("deno") },
  { name: "deno, unix, accepted", ignore: false, tls: false, pair: acceptedUnix },
  { name: "deno, unix, dialled", ignore: false, tls: false, pair: dialledUnix },
  {
    name: "handle, dialled",
    ignore: !handleEngineAvailable(),
    tls: false,
    pair: () =>
      dialled((port) =>
        dial({ kind: "tcp", host: HOST, port }, {
          timeout: 5_000,
          tcpKeepAlive: 60,
          engine: "handle",
        })
      ),
  },
  {
    name: "handle, accepted",
    ignore: !handleEngineAvailable(),
    tls: false,
    pair: () => accepted("handle"),
  },
  {
    name: "epoll, dialled",
    ignore: !epollAvailable(),
    tls: false,
    pair: () =>
      dialled((port) =>
        dial({ kind: "tcp", host: HOST, port }, {
          timeout: 5_000,
          tcpKeepAlive: 60,
          engine: "epoll",
        })
      ),
  },
  {
    name: "epoll, accepted",
    ignore: !epollAvailable(),
    tls: false,
    pair: () => accepted("epoll"),
  },
  {
    name: "node, dialled",
    ignore: false,
    tls: false,
    pair: () =>
      dialled((port) =>
        dial({ kind: "tcp", host: HOST, port }, { timeout: 5_000, localAddress: HOST })
      ),
  },
  { name: "node TLS, dialled", ignore: !hasOpenssl, tls: true, pair: dialledTls },
  {
    name: "node TLS, accepted",
    ignore: !hasOpenssl,
    tls: true,
    pair: () => acceptedTls("node", { kind: "tcp", host: HOST, port: 0 }),
  },
  { name: "node TLS, unix, accepted", ignore: !hasOpenssl, tls: true, pair: acceptedTlsUnix },
  {
    name: "native TLS, accepted",
    ignore: !hasOpenssl,
    tls: true,
    pair: () => acceptedTls("native", { kind: "tcp", host: HOST, port: 0 }),
  },
];

async function dialled(connect: (port: number) => Promise<Socket>): Promise<Pair> {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const [other, socket] = await Promise.all([listener.accept(), connect(listener.addr.port)]);
  listener.close();
  return { socket, other };
}

async function dialledUnix(): Promise<Pair> {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/s.sock`;
  const listener = Deno.listen({ transport: "unix", path });
  const [other, socket] = await Promise.all([
    listener.accept(),
    dial({ kind: "unix", path }, { timeout: 5_000 }),
  ]);
  listener.close();
  Deno.removeSync(directory, { recursive: true });
  return { socket, other };
}

async function dialledTls(): Promise<Pair> {
  const { ca, server } = testCertificates();
  const listener = Deno.listenTls({ hostname: HOST, port: 0, ...server });
  const { port } = listener.addr as Deno.NetAddr;
  const accepting = listener.accept().then(async (other) => {
    await other.handshake();
    return other;
  });
  const [other, socket] = await Promise.all([
    accepting,
    tlsDial({ kind: "tcp", host: HOST, port }, {
      serverName: "a.test",
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      ca,
      clientCertificate: null,
    }, { timeout: 5_000, tlsTimeout: 5_000 }),
  ]);
  listener.close();
  return { socket, other };
}

async function accepted(engine: SocketEngine): Promise<Pair> {
  const came = Promise.withResolvers<Socket>();
  const listener = await listenBy(engine, {
    name: "test",
    address: { kind: "tcp", host: HOST, port: 0 },
    onSocket: came.resolve,
    onError: came.reject,
  });
  const { address } = listener;
  if (address.kind !== "tcp" || listener.engine !== engine) {
    throw new Error("not what was asked for");
  }
  const other = await Deno.connect({ hostname: HOST, port: address.port });
  const socket = await came.promise;
  listener.close();
  return { socket, other };
}

async function acceptedTls(engine: TlsEngine, address: Address): Promise<Pair> {
  const came = Promise.withResolvers<Socket>();
  const { ca, server } = testCertificates();
  const listener = await listen({
    name: "test",
    address,
    tls: { engine, server: tlsServer([server]) },
    onSocket: came.resolve,
    onError: came.reject,
    onRefused: came.reject,
  });
  const port = listener.address.kind === "tcp"
    ? listener.address.port
    : await relayTo(listener.address.path);
  const other = await Deno.connectTls({ hostname: HOST, port, caCerts: [ca] });
  await other.handshake();
  const socket = await came.promise;
  listener.close();
  return { socket, other };
}

async function acceptedTlsUnix(): Promise<Pair> {
  const directory = Deno.makeTempDirSync();
  const pair = await acceptedTls("node", { kind: "unix", path: `${directory}/s.sock` });
  Deno.removeSync(directory, { recursive: true });
  return pair;
}

/** Deno's own TLS cannot connect to a unix socket: a relay takes it there. */
async function relayTo(path: string): Promise<number> {
  const relay = Deno.listen({ hostname: HOST, port: 0 });
  void relay.accept().then(async (near) => {
    relay.close();
    const far = await Deno.connect({ transport: "unix", path });
    const pass = async (from: Deno.Conn, to: Deno.Conn) => {
      const buffer = new Uint8Array(64 * 1024);
      try {
        for (let length = await from.read(buffer); length !== null;) {
          for (let at = 0; at < length;) at += await to.write(buffer.subarray(at, length));
          length = await from.read(buffer);
        }
        await to.closeWrite();
      } catch {
        // One side broke: so does the other.
        from.close();
        to.close();
      }
    };
    await Promise.allSettled([pass(near, far), pass(far, near)]);
    for (const one of [near, far]) {
      try {
        one.close();
      } catch { /* Closed already. */ }
    }
  });
  await Promise.resolve();
  return relay.addr.port;
}

async function acceptedUnix(): Promise<Pair> {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/s.sock`;
  const came = Promise.withResolvers<Socket>();
  const listener = await listen({
    name: "test",
    address: { kind: "unix", path },
    onSocket: came.resolve,
    onError: came.reject,
  });
  const other = await Deno.connect({ transport: "unix", path });
  const socket = await came.promise;
  listener.close();
  Deno.removeSync(directory, { recursive: true });
  return { socket, other };
}
