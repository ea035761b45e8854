/** Much goes through TLS on either engine, and memory stays flat: also while the upstream does not read at all. */
import assert from "node:assert/strict";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { testWith } from "../support/require.ts";
import { startSluice } from "../support/sluice.ts";

const MIB = 1024 * 1024;
const SIZE = 1024 * MIB;
/** What sockets and buffers on the way may hold: far below what the client wants to send. */
const HELD = 48 * MIB;
/**
 * How far memory may breathe, far below what goes through. With `node` each piece that is read is memory of its own,
 * which the runtime gives back when it likes.
 */
const ROOM = { native: 96 * MIB, node: 320 * MIB };
const HOST = "127.0.0.1";
const encoder = new TextEncoder();

/** An origin that does not read until it is told to, and answers when all has come. */
function startLazyOrigin() {
  const listener = Deno.listen({ hostname: HOST, port: 0 });
  const told = Promise.withResolvers<void>();
  const serve = async (connection: Deno.Conn) => {
    await told.promise;
    const buffer = new Uint8Array(256 * 1024);
    for (let got = 0; got < SIZE;) {
      const length = await connection.read(buffer);
      if (length === null) return;
      got += length;
    }
    await connection.write(encoder.encode("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  };
  void (async () => {
    for await (const connection of listener) {
      serve(connection).catch(() => {}).finally(() => connection.close());
    }
  })().catch(() => {});
  return { port: listener.addr.port, go: told.resolve, close: () => listener.close() };
}

for (const engine of ["native", "node"] as const) {
  testWith(
    ["openssl"],
    `${engine}: an upload of 1 GiB waits for its upstream, and memory stays flat`,
    async () => {
      const { ca, server } = testCertificates();
      const origin = startLazyOrigin();
      try {
        await using sluice = await startSluice({
          config: configFile({
            origin: `${HOST}:${origin.port}`,
            listener: {
              protocols: ["h1"],
              tls: { engine, certificates: [{ cert: server.cert, key: server.key }] },
            },
          }),
        });
        const client = await Deno.connectTls({
          hostname: HOST,
          port: sluice.port(),
          caCerts: [ca],
        });
        await client.write(
          encoder.encode(`POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${SIZE}\r\n\r\n`),
        );
        const before = sluice.rss();
        const piece = new Uint8Array(256 * 1024);
        let sent = 0;
        let most = 0;
        const sending = (async () => {
          for (let turn = 0; sent < SIZE; turn++) {
            sent += await client.write(piece.subarray(0, Math.min(piece.length, SIZE - sent)));
            if (turn % 64 === 0) most = Math.max(most, sluice.rss());
          }
        })();
        let last = -1;
        await eventually(
          async () => {
            last = sent;
            await new Promise((resolve) => setTimeout(resolve, 300));
            return sent === last && sent > 0;
          },
          "the client to be held up",
          60_000,
        );
        assert.ok(sent < HELD, `${sent / MIB} MiB were taken`);
        assert.ok(sluice.rss() - before < HELD);
        origin.go();
        await sending;
        const buffer = new Uint8Array(1024);
        const length = await client.read(buffer);
        assert.match(new TextDecoder().decode(buffer.subarray(0, length!)), /^HTTP\/1\.1 200 /);
        const grown = most - before;
        assert.ok(grown < ROOM[engine], `${Math.round(grown / MIB)} MiB more`);
        client.close();
      } finally {
        origin.close();
      }
    },
  );
}
