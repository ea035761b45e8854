/** Clients that hang in their handshake, or do not read: on each engine, nothing of them is left after their deadline. */
import assert from "node:assert/strict";
import { startBulkOrigin } from "../support/bulk.ts";
import { testCertificates } from "../support/certs.ts";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { openDescriptors, untilDescriptors } from "../support/descriptors.ts";
import { testWith } from "../support/require.ts";
import { type Sluice, startSluice } from "../support/sluice.ts";

const GIB = 1024 * 1024 * 1024;
/** Descriptors that come and go by themselves: pools, timers, files that are read. */
const ROOM = 12;
const HOST = "127.0.0.1";

interface Bench extends AsyncDisposable {
  readonly sluice: Sluice;
  readonly ca: string;
}

async function start(engine: "native" | "node", handshakeTimeout: string): Promise<Bench> {
  const { ca, server } = testCertificates();
  const origin = startBulkOrigin(GIB);
  const sluice = await startSluice({
    config: configFile({
      origin: `${HOST}:${origin.port}`,
      listener: {
        protocols: ["h1"],
        tls: {
          engine,
          certificates: [{ cert: server.cert, key: server.key }],
          handshake_timeout: handshakeTimeout,
        },
      },
      limits: { write_timeout: "1s", header_timeout: "60s", keep_alive_timeout: "60s" },
    }),
  });
  return {
    sluice,
    ca,
    async [Symbol.asyncDispose]() {
      await sluice[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

/** One request on a connection of its own; resolves when its answer has begun. */
async function isServed(port: number, ca: string): Promise<void> {
  const connection = await Deno.connectTls({ hostname: HOST, port, caCerts: [ca] });
  try {
    await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    const buffer = new Uint8Array(64);
    const length = await connection.read(buffer);
    assert.match(new TextDecoder().decode(buffer.subarray(0, length ?? 0)), /^HTTP\/1\.1 200 /);
  } finally {
    connection.close();
  }
}

for (const engine of ["native", "node"] as const) {
  testWith(["openssl"], `${engine}: 1,000 stalled handshakes leave no descriptor`, async () => {
    await using bench = await start(engine, "5s");
    const { sluice, ca } = bench;
    await isServed(sluice.port(), ca);
    const before = openDescriptors(sluice.pid);
    const clients = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => stalled(sluice.port(), i)),
    );
    try {
      // They are all there at once, before their deadline.
      assert.ok(openDescriptors(sluice.pid) > before + 500);
      await isServed(sluice.port(), ca);
      await untilDescriptors(sluice.pid, before + ROOM, 60_000);
      await isServed(sluice.port(), ca);
    } finally {
      for (const client of clients) client.close();
    }
  });

  testWith(["openssl"], `${engine}: 200 clients that do not read leave no descriptor`, async () => {
    await using bench = await start(engine, "20s");
    const { sluice, ca } = bench;
    await isServed(sluice.port(), ca);
    const before = openDescriptors(sluice.pid);
    const clients = await Promise.all(Array.from({ length: 200 }, async () => {
      const client = await Deno.connectTls({ hostname: HOST, port: sluice.port(), caCerts: [ca] });
      await client.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
      return client;
    }));
    try {
      await eventually(() => openDescriptors(sluice.pid) > before + 200, "all connections", 60_000);
      await isServed(sluice.port(), ca);
      await untilDescriptors(sluice.pid, before + ROOM, 90_000);
      await isServed(sluice.port(), ca);
    } finally {
      for (const client of clients) client.close();
    }
  });
}

/** A client that connects and then hangs: at once, or in the middle of its first record. */
async function stalled(port: number, turn: number): Promise<Deno.Conn> {
  const client = await Deno.connect({ hostname: HOST, port });
  if (turn % 2 === 1) await client.write(Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01));
  return client;
}
