/**
 * The program as a whole: starts its services in order, tells when it is ready, and ends it all in the opposite
 * order. The main thread never touches traffic.
 *
 * @module
 */
import type { Config } from "../config/types.ts";
import { type Logger, logger, type RunningLog, startLog } from "../observe/log.ts";
import type { PluginHost } from "../sandbox/host.ts";
import { formatAddress } from "../transport/address.ts";
import { CertificateWatch } from "./certificate_watch.ts";
import { EdgeService } from "./edge_service.ts";
import { PluginEndpoints } from "./plugin_endpoints.ts";
import { HeldListeners } from "./held_listeners.ts";
import { Operations, type OperationsAddresses } from "./operations/operations.ts";
import { PluginRecords } from "./operations/plugin_records.ts";
import type { ProgramState } from "./operations/probes.ts";
import { ProgramMetrics } from "./operations/program_metrics.ts";
import { programStatus } from "./operations/program_status.ts";
import { viewUpstreams } from "./operations/upstream_view.ts";
import { type PluginReport, reportOf, startPlugins } from "./plugins.ts";
import { ServiceGraph } from "./service_graph.ts";
import { onReopen, whenToldToStop } from "./signals.ts";
import { SocketSurgery } from "./socket_surgery.ts";
import { UpstreamWatch } from "./upstream_watch.ts";

/** What is told when everything serves. */
export interface ReadyInfo {
  /** With the ports that the system chose filled in. */
  readonly listeners: readonly { readonly name: string; readonly address: string }[];
  readonly plugins: readonly PluginReport[];
  readonly operations: OperationsAddresses;
}

/** Options of {@linkcode runServer}. */
export interface ServerOptions {
  /** Whether SIGTERM and SIGINT drain it. Without, only `stop` ends it. */
  readonly signals: boolean;
  /** Called once, when every listener is ready. */
  readonly onReady: (info: ReadyInfo) => void;
  /** Ends it, as a signal would. */
  readonly stop?: AbortSignal;
}

/**
 * Runs until told to stop, then drains: what runs is finished, for as long as the grace period at most.
 *
 * @throws {PluginStartError} If plugins cannot be loaded.
 * @throws {Error} If it cannot start for another reason. Nothing runs then.
 */
export async function runServer(config: Config, options: ServerOptions): Promise<void> {
  const running = startLog(config.log);
  const log = logger("server");
  const metrics = new ProgramMetrics();
  const guard = guardProcess(log, metrics);
  try {
    const held = HeldListeners.bind(config);
    try {
      await serve(held, options, { log, running, metrics });
    } finally {
      held.close();
    }
  } finally {
    guard.release();
    await running.close();
  }
}

/** What there is from the first moment to the last. */
interface Surroundings {
  readonly log: Logger;
  readonly running: RunningLog;
  readonly metrics: ProgramMetrics;
}

async function serve(
  held: HeldListeners,
  options: ServerOptions,
  { log, running, metrics }: Surroundings,
): Promise<void> {
  const { config } = held;
  const graph = new ServiceGraph();
  const endpoints = new PluginEndpoints(config.upstreams, log);
  const records = new PluginRecords(metrics);
  let host: PluginHost | null = null;
  graph.add({
    name: "plugins",
    dependsOn: [],
    async start() {
      host = await startPlugins(config, endpoints, (event) => records.note(event));
    },
    stop: () => host!.close(),
  });
  const watch = new UpstreamWatch({
    config,
    log,
    plugins: endpoints,
    metrics,
    broadcast: (message) => edges.forEach((edge) => edge.tell(message)),
    onHealth: (change) => host?.tellHealth(change),
  });
  graph.add(watch);
  const certificates = new CertificateWatch({
    config,
    log,
    broadcast: (message) => edges.forEach((edge) => edge.tell(message)),
  });
  graph.add(certificates);
  const surgery = SocketSurgery.prepare(config.listeners.some(({ tls }) => tls !== null), log);
  const edges: EdgeService[] = config.services.map((service) =>
    new EdgeService({
      config,
      service,
      plugins: () => host!,
      upstreams: () => watch.state(),
      metrics,
      logLevel: () => running.level,
      credentials: () => certificates.state(),
      surgery,
      log,
    })
  );
  for (const edge of edges) graph.add(edge);
  metrics.book.collect((sink) => {
    sink.add("sluice_log_lines_dropped_total", ["operational"], running.dropped);
    if (host !== null) records.collect(sink, host);
  });
  const reopen = options.signals
    ? onReopen(() => edges.forEach((edge) => edge.reopenLogs()))
    : null;
  const stop = whenToldToStop(options.signals, options.stop);
  const drain = Promise.withResolvers<string>();
  let state: ProgramState = "starting";
  const listeners = config.listeners.map(({ name, address }) => ({
    name,
    address: formatAddress(address),
  }));
  const operations = await Operations.open({
    admin: config.admin,
    metrics: config.metrics,
    log,
    subject: {
      metrics,
      actions: { drain: drain.resolve, reload: null, upgrade: null },
      state: () => state,
      config: () => config,
      status: () => programStatus({ state, metrics, listeners, edges, plugins: plugins() }),
      async upstreams() {
        const reports = await Promise.all(edges.map((edge) => edge.inspectUpstreams()));
        return viewUpstreams(watch.upstreams, watch.settings, reports.flat());
      },
      memberSetting: (group, id) => watch.settings.get(group, id),
      setMember: (setting) => watch.set(setting),
      plugins: () => plugins(),
      async restartPlugin(name) {
        await host!.replace(name);
      },
      logLevel: () => running.level,
      setLogLevel(level) {
        running.setLevel(level);
        for (const edge of edges) edge.tell({ kind: "log_level", level });
        log.info(`The log level is ${level} now: an operator set it`);
      },
    },
  });
  const plugins = () => host === null ? [] : records.status(host);
  try {
    await graph.start();
    state = "ready";
    options.onReady({
      listeners,
      plugins: host!.loaded.map(reportOf),
      operations: operations.addresses,
    });
    const reason = await Promise.race([stop.asked, drain.promise]);
    state = "draining";
    log.info(`Draining: ${reason}`, { grace_ms: config.server.gracePeriod });
    // Held any longer, the port would go on taking connections that nobody accepts.
    held.close();
    await graph.stop();
    log.info("Stopped");
  } finally {
    operations.close();
    stop.release();
    reopen?.release();
    surgery.close();
  }
}

/** Keeps one stray error of the main thread from ending the program. */
function guardProcess(log: Logger, metrics: ProgramMetrics): { release(): void } {
  const rejected = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    metrics.strayError();
    log.error("A promise was rejected and nobody listened", { error: event.reason });
  };
  const thrown = (event: ErrorEvent) => {
    event.preventDefault();
    metrics.strayError();
    log.error("An error was thrown and nobody caught it", { error: event.error });
  };
  globalThis.addEventListener("unhandledrejection", rejected);
  globalThis.addEventListener("error", thrown);
  return {
    release() {
      globalThis.removeEventListener("unhandledrejection", rejected);
      globalThis.removeEventListener("error", thrown);
    },
  };
}
