/** A tunnel whose reader is slow slows its writer down, whatever HTTP is spoken on either side. */
import assert from "node:assert/strict";
import http2 from "node:http2";
import net from "node:net";
import type { Duplex } from "node:stream";
import { configFile } from "../support/config.ts";
import { eventually } from "../support/deadline.ts";
import { startSluice } from "../support/sluice.ts";

const MIB = 1024 * 1024;
/** More than sockets and windows hold on the way, and far less than would go through. */
const MOST = 48 * MIB;
const HANDSHAKE = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n";
const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n";

/** Writes without end as fast as it is let, and counts. */
class Flood {
  sent = 0;
  readonly #piece = new Uint8Array(64 * 1024);

  start(stream: Duplex): void {
    stream.on("error", () => {});
    stream.resume();
    const more = () => {
      while (!stream.destroyed && stream.writable) {
        this.sent += this.#piece.length;
        if (!stream.write(this.#piece)) {
          stream.once("drain", more);
          return;
        }
      }
    };
    more();
  }

  /** Waits until nothing more is taken. */
  async settled(): Promise<void> {
    let before = -1;
    await eventually(
      async () => {
        if (before === this.sent) return true;
        before = this.sent;
        await new Promise((resolve) => setTimeout(resolve, 500));
        return before === this.sent;
      },
      "the writer to be slowed down",
      30_000,
    );
  }
}

async function startOrigin(wire: "h1" | "h2c", flood: Flood) {
  const sockets = new Set<net.Socket>();
  const server = wire === "h1"
    ? net.createServer((socket) => {
      socket.once("data", () => {
        socket.write(SWITCHED);
        flood.start(socket);
      });
    })
    : http2.createServer({ settings: { enableConnectProtocol: true } });
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ":status": 200 });
    flood.start(stream);
  });
  server.on("sessionError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Opens a tunnel that nobody reads from. */
async function open(wire: "h1" | "h2c", port: number): Promise<Duplex> {
  if (wire === "h1") {
    const socket = net.connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(HANDSHAKE);
    await new Promise<void>((resolve) => socket.once("readable", () => resolve()));
    return socket;
  }
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await new Promise<void>((resolve) => session.once("remoteSettings", () => resolve()));
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "words",
    ":scheme": "http",
    ":authority": "a",
    ":path": "/",
  }, { endStream: false });
  stream.on("error", () => {});
  stream.on("close", () => session.destroy());
  await new Promise((resolve) => stream.on("response", resolve));
  return stream;
}

Deno.test("a client that does not read from its tunnel stops the upstream", async (t) => {
  for (const up of ["h1", "h2c"] as const) {
    for (const down of ["h1", "h2c"] as const) {
      await t.step(`${down} to ${up}`, async () => {
        const flood = new Flood();
        await using origin = await startOrigin(up, flood);
        await using sluice = await startSluice({
          config: configFile({
            origin: `http://127.0.0.1:${origin.port}`,
            listener: { protocols: ["h1", "h2c"] },
            transport: { protocol: up },
          }),
        });
        const before = sluice.rss();
        const tunnel = await open(down, sluice.port());
        await flood.settled();
        assert.ok(flood.sent < MOST, `${flood.sent / MIB} MiB went nowhere`);
        assert.ok(sluice.rss() - before < MOST, `${(sluice.rss() - before) / MIB} MiB more`);
        // When it reads again, it goes on.
        const sent = flood.sent;
        tunnel.resume();
        await eventually(() => flood.sent > sent + 16 * MIB, "the writer to go on", 30_000);
        tunnel.destroy();
      });
    }
  }
});
