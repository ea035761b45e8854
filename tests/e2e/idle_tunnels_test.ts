/** Tunnels that nobody uses cost little, and all of it comes back. */
import assert from "node:assert/strict";
import net from "node:net";
import { configFile } from "../support/config.ts";
import { DEADLINE, eventually, withDeadline } from "../support/deadline.ts";
import { startSluice } from "../support/sluice.ts";

const TUNNELS = 1000;
const KIB = 1024;
/** For both its connections, with all that hangs on them. */
const MOST_EACH = 128 * KIB;

const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n";

Deno.test(`${TUNNELS} idle tunnels cost little memory, and end together when they are idle for too long`, async () => {
  let open = 0;
  const origin = net.createServer((socket) => {
    open++;
    socket.on("close", () => open--);
    socket.on("error", () => {});
    socket.once("data", () => socket.write(SWITCHED));
    socket.on("data", (bytes) => bytes.includes("echo") && socket.write("echo"));
  });
  await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
  const { port } = origin.address() as net.AddressInfo;
  await using sluice = await startSluice({
    config: configFile({
      origin: `http://127.0.0.1:${port}`,
      timeouts: { tunnel_idle: "12s" },
      route: { match: { path: "/*" } },
    }),
  });
  const clients = new Set<net.Socket>();
  const connect = () =>
    new Promise<net.Socket>((resolve, reject) => {
      const socket = net.connect(sluice.port(), "127.0.0.1");
      clients.add(socket);
      socket.on("close", () => clients.delete(socket));
      socket.on("error", reject);
      socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n");
      socket.once("data", (bytes) => {
        assert.ok(String(bytes).startsWith("HTTP/1.1 101 "));
        resolve(socket);
      });
    });
  try {
    // The first ones warm everything up.
    for (let i = 0; i < 50; i++) await connect();
    const before = sluice.rss();
    const all: net.Socket[] = [];
    for (let i = 0; i < TUNNELS / 50; i++) {
      all.push(...await Promise.all(Array.from({ length: 50 }, connect)));
    }
    const each = (sluice.rss() - before) / TUNNELS;
    assert.ok(each < MOST_EACH, `${Math.round(each / KIB)} KiB for each`);
    // Each of them would still work; the last one has been idle for the shortest time.
    const one = all.at(-1)!;
    const echoed = new Promise((resolve) => one.once("data", (bytes) => resolve(String(bytes))));
    one.write("echo");
    assert.equal(await withDeadline(echoed, DEADLINE, "the echo"), "echo");
    await eventually(() => clients.size === 0, "all clients to see the end", 30_000);
    await eventually(() => open === 0, "the origin to see the end");
  } finally {
    for (const socket of clients) socket.destroy();
    await new Promise((resolve) => origin.close(resolve));
  }
});
