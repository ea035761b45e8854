/**
 * ENTRY of a service worker: what runs in its own thread, with rights of its own.
 *
 * @module
 */
// What inline plugins import must be here before them: a worker has no right to read Sluice's own files.
import "@sluice/plugin";
import "zod";
import { logger, type RunningLog, startLog } from "../observe/log.ts";
import type { ServerMessage, WorkerMessage } from "./control.ts";
import { type RunningService, startService } from "./start.ts";

// The types of a page do not know that a worker's `self` can post.
const server = self as unknown as {
  postMessage(message: WorkerMessage): void;
  onmessage: ((event: MessageEvent<ServerMessage>) => void) | null;
};
const say = (message: WorkerMessage) => server.postMessage(message);

let log: RunningLog | null = null;
let service: RunningService | null = null;
/** What was said about upstreams while the service was starting. */
const early: ServerMessage[] = [];

server.onmessage = (event) => hear(event.data);

function hear(message: ServerMessage): void {
  switch (message.kind) {
    case "start":
      void start(message);
      break;
    case "drain":
      void drain(message.grace);
      break;
    case "endpoint_set":
      if (service === null) early.push(message);
      else service.setEndpoints(message.group, message.endpoints);
      break;
    case "health_flip":
      if (service === null) early.push(message);
      else service.applyFlip(message);
      break;
    case "reopen_logs":
      void service?.reopenLogs();
      break;
  }
}

async function start(message: ServerMessage & { kind: "start" }): Promise<void> {
  const { config, service: name, index } = message.setup;
  log = startLog(config.log);
  try {
    service = await startService(message.setup);
    for (const one of early.splice(0)) hear(one);
    setInterval(() => say({ kind: "alive" }), 1_000);
    say({ kind: "ready" });
  } catch (error) {
    logger("service", name).debug(`Worker ${index} cannot start`, { error });
    await log.close();
    say({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
}

async function drain(grace: number): Promise<void> {
  const cut = await service?.drain(grace) ?? 0;
  await log?.close();
  say({ kind: "drained", cut });
}

// One bad promise of one plugin or one request is no reason to drop all connections.
self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  logger("service").error("A promise was rejected and nobody listened", { error: event.reason });
});
self.addEventListener("error", (event) => {
  event.preventDefault();
  logger("service").error("An error was thrown outside of any request", { error: event.error });
});

say({ kind: "loaded" });
