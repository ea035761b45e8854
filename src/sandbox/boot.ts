/**
 * Entry of a plugin's thread, which lives in a cell.
 *
 * It is loaded before the plugin and with rights on Sluice's own files, which it gives back first.
 *
 * @module
 */
import "../plugin/mod.ts";
import { workerData } from "node:worker_threads";
import type { BootData } from "./cell.ts";
import type { HostMessage } from "./control.ts";
import { hardenRealm } from "./harden.ts";
import { guardImports } from "./import_guard.ts";
import { PortChannel } from "./port_channel.ts";
import { MAX_FRAME_TO_SANDBOX } from "./protocol.ts";
import { RingChannel } from "./ring_channel.ts";
import { Runtime } from "./runtime.ts";
import { snapshotReader } from "./snapshot.ts";
import { describeError } from "./values.ts";

const { control, lock, root, own, guarded } = workerData as BootData;
const send = control.postMessage.bind(control) as (message: unknown) => void;
const early: HostMessage[] = [];
let handle = (message: HostMessage): void => void early.push(message);
control.onmessage = (event) => handle(event.data as HostMessage);

// A thread is only interrupted when it is terminated if it holds a lock.
await new Promise<void>((resolve) => {
  const { locks } = navigator as unknown as {
    locks: { request(name: string, held: () => Promise<void>): Promise<void> };
  };
  void locks.request(lock, () => {
    resolve();
    return new Promise<void>(() => {});
  });
});
for (const path of own) await Deno.permissions.revoke({ name: "read", path });

const memoryUsage = Deno.memoryUsage.bind(Deno);
const { realPathSync } = Deno;
const runtime = new Runtime({
  send,
  channel: (port, memory) =>
    memory === null
      ? new PortChannel(port, MAX_FRAME_TO_SANDBOX, snapshotReader())
      : new RingChannel(
        { port, memory, side: "called", most: MAX_FRAME_TO_SANDBOX },
        snapshotReader(),
      ),
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
if (guarded) {
  guardImports({
    root,
    realPath: realPathSync,
    refuse: (specifier, importer) => send(["refused", specifier, importer]),
  });
}
hardenRealm((level, message) => runtime.log(level, message));
handle = (message) => runtime.handle(message);
for (const message of early) runtime.handle(message);
send(["ready"]);
