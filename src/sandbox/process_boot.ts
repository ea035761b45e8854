/**
 * Entry of a plugin's own process. Its rights are the flags it was started with.
 *
 * @module
 */
import "../plugin/mod.ts";
import type { Channel } from "./channel.ts";
import {
  HELLO,
  type HostMessage,
  LISTENING,
  type ProcessOrder,
  REFUSED,
  type SandboxMessage,
} from "./control.ts";
import { hardenRealm } from "./harden.ts";
import { guardImports } from "./import_guard.ts";
import { MAX_FRAME_TO_SANDBOX } from "./protocol.ts";
import { Runtime } from "./runtime.ts";
import { snapshotReader } from "./snapshot.ts";
import { SocketChannel } from "./socket_channel.ts";
import { describeError } from "./values.ts";

const order = readOrder();
const listener = Deno.listen({ transport: "unix", path: order.socket });
const memoryUsage = Deno.memoryUsage.bind(Deno);
const { realPathSync } = Deno;
const exit: (code: number) => never = Deno.exit.bind(Deno);
const print = Deno.stdout.writeSync.bind(Deno.stdout);
const encoder = new TextEncoder();
const sayLine = (text: string): void => void print(encoder.encode(`${text}\n`));

let control: Channel | null = null;
const runtime = new Runtime({
  send: (message: SandboxMessage) => control?.post(message as unknown as unknown[]),
  channel: () => {
    throw new Error("a process is connected to by its socket");
  },
  externalMemory: () => memoryUsage().external,
});
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  runtime.log(
    "error",
    `A promise was rejected and nobody cared: ${describeError(event.reason, 2048)}`,
  );
});
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  runtime.log(
    "error",
    `An error was thrown outside of a hook: ${describeError(event.error, 2048)}`,
  );
});
guardImports({
  root: order.root,
  realPath: realPathSync,
  refuse: (specifier, importer) => {
    sayLine(REFUSED + JSON.stringify([specifier, importer]));
    return exit(78);
  },
});
hardenRealm((level, message) => runtime.log(level, message));
void accept();
sayLine(LISTENING);

async function accept(): Promise<void> {
  for (;;) {
    const channel = new SocketChannel(
      await listener.accept(),
      MAX_FRAME_TO_SANDBOX,
      snapshotReader(),
    );
    channel.onMessage = (message) => greet(channel, message as unknown[]);
    channel.start();
  }
}

/** The first message of a connection says who is there. */
function greet(channel: SocketChannel, message: readonly unknown[]): void {
  if (message[0] !== HELLO || message[1] !== order.token) return channel.close();
  if (message[2] !== "control") return runtime.serve(channel);
  if (control !== null) return channel.close();
  control = channel;
  channel.onMessage = (next) => runtime.handle(next as HostMessage);
  // Without the one who supervises it, a plugin must not go on.
  channel.onClose = () => exit(0);
  channel.post(["ready"]);
}

/** Reads the order from standard input, which carries nothing else. */
function readOrder(): ProcessOrder {
  const bytes = new Uint8Array(64 * 1024);
  let length = 0;
  for (;;) {
    const read = Deno.stdin.readSync(bytes.subarray(length));
    if (read === null || read === 0) break;
    length += read;
  }
  return JSON.parse(new TextDecoder().decode(bytes.subarray(0, length)));
}
