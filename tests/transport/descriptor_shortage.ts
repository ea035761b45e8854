/**
 * Runs a listener in a process that has too few file descriptors, and prints how it fared. Used by listener_test.ts.
 *
 * @module
 */
import process from "node:process";
import type { TcpAddress } from "../../src/transport/address.ts";
import { HandedSockets } from "../../src/transport/handed_sockets.ts";
import { holdPort } from "../../src/transport/hold.ts";
import { listen } from "../../src/transport/listen.ts";
import type { SocketEngine } from "../../src/transport/socket.ts";
import { type Loan, loan } from "../../src/transport/loan.ts";
import type { Socket } from "../../src/transport/socket.ts";

const errors: string[] = [];
const sockets: Socket[] = [];
const [engine, lent] = Deno.args;
let address: TcpAddress = { kind: "tcp", host: "127.0.0.1", port: 0 };
let offer: Loan | null = null;
if (lent === "lent") {
  ({ address } = holdPort("short", address, 511));
  offer = loan(HandedSockets.load()!.lend(address));
}
const listener = await listen({
  name: "short",
  address,
  engine: engine as SocketEngine,
  loan: offer,
  onSocket: (socket) => void sockets.push(socket),
  onError: (error) => void errors.push(error.type),
});
if (listener.engine !== engine || listener.address.kind !== "tcp") Deno.exit(3);
const { port } = listener.address;

// Deno itself opens files for a moment after its start, and gives up without them.
await new Promise((resolve) => setTimeout(resolve, 1000));
// Files take all descriptors but a few; the connections then fight for those.
const files: Deno.FsFile[] = [];
try {
  for (;;) files.push(Deno.openSync("/dev/null"));
} catch {
  for (let i = 0; i < 5; i++) files.pop()?.close();
}
const clients: Deno.Conn[] = [];
for (let i = 0; i < 4; i++) {
  try {
    clients.push(await Deno.connect({ hostname: "127.0.0.1", port }));
  } catch {
    break;
  }
}
const before = process.cpuUsage();
await new Promise((resolve) => setTimeout(resolve, 700));
const used = process.cpuUsage(before);
for (const file of files) file.close();
// Somebody gave descriptors back: what waited and what comes is served.
const late = await Deno.connect({ hostname: "127.0.0.1", port });
for (let i = 0; i < 200 && sockets.length <= clients.length; i++) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
console.log(JSON.stringify({
  errors: errors.length,
  types: [...new Set(errors)].join(),
  served: sockets.length === clients.length + 1,
  cpu: (used.user + used.system) / 1000,
}));
late.close();
Deno.exit(0);
