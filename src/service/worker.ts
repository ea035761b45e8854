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
import { guardWorker } from "./stray_errors.ts";

// The types of a page do not know that a worker's `self` can post.
const server = self as unknown as {
  postMessage(message: WorkerMessage, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ServerMessage>) => void) | null;
};
const say = (message: WorkerMessage) => server.postMessage(message);

/** Milliseconds between two reports of metrics. */
const METRICS_INTERVAL = 1_000;

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
    case "member_setting":
      if (service === null) early.push(message);
      else service.applySetting(message);
      break;
    case "log_level":
      if (log === null) early.push(message);
      else log.setLevel(message.level);
      break;
    case "inspect":
      say({
        kind: "inspected",
        id: message.id,
        upstreams: service?.reportUpstreams() ?? [],
      });
      break;
    case "credentials":
      if (service === null) early.push(message);
      else service.replaceCredentials(message.listener, message.credentials);
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
    service = await startService(message.setup, log, say);
    for (const one of early.splice(0)) hear(one);
    setInterval(() => say({ kind: "alive" }), 1_000);
    if (config.metrics !== null) setInterval(tellMetrics, METRICS_INTERVAL);
    say({ kind: "ready" });
  } catch (error) {
    logger("service", name).debug(`Worker ${index} cannot start`, { error });
    await log.close();
    say({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
}

function tellMetrics(): void {
  const report = service?.metrics() ?? null;
  if (report === null) return;
  server.postMessage({ kind: "metrics", report }, [report.values.buffer]);
}

async function drain(grace: number): Promise<void> {
  const cut = await service?.drain(grace) ?? 0;
  tellMetrics();
  await log?.close();
  say({ kind: "drained", cut });
}

guardWorker();

say({ kind: "loaded" });
