/** What is particular about TLS on an accepted connection by node:tls. */
import assert from "node:assert/strict";
import type { ProxyError } from "../../src/base/error.ts";
import type { TcpAddress } from "../../src/transport/address.ts";
import { type CertificatePair, prepare } from "../../src/transport/certificate.ts";
import { listen } from "../../src/transport/listen.ts";
import type { Socket } from "../../src/transport/socket.ts";
import type { TlsServerOptions } from "../../src/transport/tls_server.ts";
import { Authority } from "../support/authority.ts";
import { testCertificates } from "../support/certs.ts";
import { eventually } from "../support/deadline.ts";
import { testWith } from "../support/require.ts";
import { tlsServer } from "../support/tls_server.ts";

const HOST = "127.0.0.1";
const MIB = 1024 * 1024;

async function start(options: Partial<TlsServerOptions>, path: string = "") {
  const { server } = testCertificates();
  const sockets: Socket[] = [];
  const refused: ProxyError[] = [];
  const listener = await listen({
    name: "test",
    address: path === "" ? { kind: "tcp", host: HOST, port: 0 } : { kind: "unix", path },
    tls: { engine: "node", server: tlsServer([server], options) },
    onSocket: (socket) => sockets.push(socket),
    onError: (error) => refused.push(error),
    onRefused: (error) => refused.push(error),
  });
  return { listener, sockets, refused, port: (listener.address as TcpAddress).port };
}

/** The first record of a client that asks for a name. */
async function clientHello(hostname: string): Promise<Uint8Array> {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const raw = await Deno.connect({ hostname: HOST, port: listener.addr.port });
  const other = await listener.accept();
  const secure = await Deno.startTls(raw, { hostname });
  const shaking = secure.handshake().catch(() => {});
  const buffer = new Uint8Array(16_384);
  const length = await other.read(buffer);
  other.close();
  listener.close();
  await shaking;
  secure.close();
  return buffer.subarray(0, length!);
}

for (const kind of ["TCP", "unix"]) {
  testWith(
    ["openssl"],
    `node, ${kind}: while a certificate is looked for, nothing more is read`,
    async () => {
      const directory = Deno.makeTempDirSync();
      const path = kind === "unix" ? `${directory}/s.sock` : "";
      const hello = await clientHello("late.test");
      let asked = 0;
      const found = Promise.withResolvers<null>();
      const { listener, refused, port } = await start({
        unknownName: "reject",
        find: () => {
          asked++;
          return found.promise;
        },
      }, path);
      const client = path === ""
        ? await Deno.connect({ hostname: HOST, port })
        : await Deno.connect({ transport: "unix", path });
      await client.write(hello);
      await eventually(() => asked === 1, "the question");
      let sent = 0;
      const flood = (async () => {
        const piece = new Uint8Array(MIB);
        while (sent < 256 * MIB) sent += await client.write(piece);
      })().catch(() => {});
      let last = -1;
      await eventually(async () => {
        last = sent;
        await new Promise((resolve) => setTimeout(resolve, 200));
        return sent === last;
      }, "the flood to be held up");
      // What sockets hold on both sides, and no more.
      assert.ok(sent < 32 * MIB, `${sent / MIB} MiB were taken`);
      found.resolve(null);
      await eventually(() => refused.length === 1, "the refusal");
      assert.equal(refused[0]!.type, "tls_handshake_failure");
      await flood;
      client.close();
      await eventually(() => listener.connectionCount === 0, "the end");
      listener.close();
      Deno.removeSync(directory, { recursive: true });
    },
  );
}

testWith(
  ["openssl"],
  "node: a certificate that comes late, and one that fails to come",
  async () => {
    using authority = new Authority();
    const pair: CertificatePair = { ...authority.sign("late.test"), names: null };
    const { listener, sockets, refused, port } = await start({
      find: async (host) => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        if (host === "bad.test") throw new Error("no authority");
        return host === "late.test" ? prepare(pair) : null;
      },
    });
    const connect = async (hostname: string) => {
      const raw = await Deno.connect({ hostname: HOST, port });
      const secure = await Deno.startTls(raw, { hostname, caCerts: [authority.ca] });
      try {
        await secure.handshake();
      } finally {
        secure.close();
      }
    };
    await connect("late.test");
    await eventually(() => sockets.length === 1, "the connection");
    assert.deepEqual(sockets[0]!.tls!.ownNames, ["late.test"]);
    await assert.rejects(connect("bad.test"));
    await eventually(() => refused.length === 1, "the refusal");
    assert.match(refused[0]!.message, /no authority/);
    listener.close();
    for (const socket of sockets) socket.destroy();
  },
);
