/**
 * ENTRY of a service worker: what runs in its own thread, with rights of its own.
 *
 * @module
 */
import { logger, type RunningLog, startLogAnyhow } from "../observe/log.ts";
import { learnNames } from "../transport/resolve.ts";
import type { ServerMessage, WorkerLoad, WorkerMessage } from "./control.ts";
import { Loans } from "./loans.ts";
import { type RunningService, startService } from "./start.ts";
import { guardWorker } from "./stray_errors.ts";

// The types of a page do not know that a worker's `self` can post.
const server = self as unknown as {
  postMessage(message: WorkerMessage, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ServerMessage>) => void) | null;
  close(): void;
};
const say = (message: WorkerMessage) => server.postMessage(message);

/** Milliseconds between two reports of metrics. */
const METRICS_INTERVAL = 1_000;

let log: RunningLog | null = null;
/** Lines that logs before this one had to drop. */
let droppedBefore = 0;
const loans = new Loans(say);
let service: RunningService | null = null;
/** What was said about upstreams while the service was starting. */
const early: ServerMessage[] = [];

server.onmessage = (event) => hear(event.data);

// Nobody is told when a worker ends itself: it has to say so before it does.
for (const [owner, name] of [[self, "close"], [Deno, "exit"]] as const) {
  const end = (owner as unknown as Record<string, () => void>)[name]!.bind(owner);
  Object.defineProperty(owner, name, {
    value: () => {
      say({ kind: "ended", load: load() });
      // Until the thread is gone, it would take connections away from those that can serve them.
      service?.refuse();
      end();
    },
  });
}

function load(): WorkerLoad {
  return service?.load ?? { connections: 0, requests: 0, retiredEditions: 0 };
}

function hear(message: ServerMessage): void {
  switch (message.kind) {
    case "start":
      void start(message);
      break;
    case "inherit":
      service?.inherit(message.health);
      break;
    case "listen":
      void listen();
      break;
    case "prepare":
      void prepare(message);
      break;
    case "commit":
      void commit(message);
      break;
    case "abort":
      service?.abort(message.number);
      break;
    case "drain":
      void drain(message.grace, message.gentle);
      break;
    case "hurry":
      service?.hurry();
      break;
    case "cut":
      service?.cut();
      break;
    case "refresh":
      service?.refresh(message.upstreams);
      break;
    case "endpoint_set":
      if (service === null) early.push(message);
      else service.setEndpoints(message.group, message.endpoints);
      break;
    case "health_flip":
      if (service === null) early.push(message);
      else service.applyFlip(message);
      break;
    case "names":
      if (service === null) early.push(message);
      else learnNames(message.names, false);
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
    case "lent":
      loans.settle(message);
      break;
    case "credentials":
      if (service === null) early.push(message);
      else service.replaceCredentials(message.listener, message.credentials);
      break;
    case "reopen_logs":
      void service?.reopenLogs();
      void log?.reopen();
      break;
  }
}

async function start(message: ServerMessage & { kind: "start" }): Promise<void> {
  const { edition, service: name, index } = message.setup;
  log = startLogAnyhow(edition.config.log);
  try {
    service = await startService(message.setup, {
      onReleased: (number) => say({ kind: "released", number }),
      onLog: (settings) => {
        const old = log;
        log = startLogAnyhow(settings);
        void old?.close();
        droppedBefore += old?.dropped ?? 0;
      },
      onCut: (connections) => say({ kind: "cut", connections }),
      borrow: (bound) => loans.borrow(bound),
      onLoop: (loop) => say({ kind: "watches", loop }),
      onTrafficHealth: (groups) => say({ kind: "traffic_health", groups }),
      linesDropped: () => droppedBefore + (log?.dropped ?? 0),
    });
    for (const one of early.splice(0)) hear(one);
    setInterval(() => say({ kind: "alive", load: load() }), 1_000);
    if (edition.config.metrics !== null) setInterval(tellMetrics, METRICS_INTERVAL);
    say({ kind: "prepared", number: edition.number });
  } catch (error) {
    logger("service", name).debug(`Worker ${index} cannot start`, { error });
    await log.close();
    say({ kind: "failed", message: messageOf(error) });
  }
}

async function listen(): Promise<void> {
  try {
    await service!.listen();
    say({ kind: "ready" });
  } catch (error) {
    say({ kind: "failed", message: messageOf(error) });
  }
}

async function prepare({ edition }: ServerMessage & { kind: "prepare" }): Promise<void> {
  try {
    await service!.prepare(edition);
    say({ kind: "prepared", number: edition.number });
  } catch (error) {
    say({ kind: "refused", number: edition.number, message: messageOf(error) });
  }
}

async function commit(message: ServerMessage & { kind: "commit" }): Promise<void> {
  try {
    await service!.commit(message.number, message.upstreams, true);
    say({ kind: "committed", number: message.number });
  } catch (error) {
    // Some of it serves by now: another worker, which begins with it, is the only way to be sure.
    say({ kind: "failed", message: messageOf(error) });
  }
}

async function drain(grace: number, gentle: number): Promise<void> {
  const cut = await service?.drain(grace, gentle) ?? 0;
  tellMetrics();
  await log?.close();
  say({ kind: "drained", cut });
}

function tellMetrics(): void {
  const report = service?.metrics() ?? null;
  if (report === null) return;
  server.postMessage({ kind: "metrics", report }, [report.values.buffer]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

guardWorker();

say({ kind: "loaded" });
