/**
 * The program as a whole: starts its services in order, tells when it is ready, follows what signals and operators ask
 * for, and ends it all in the opposite order. The main thread never touches traffic.
 *
 * @module
 */
import type { LoadResult } from "../config/load.ts";
import type { Config } from "../config/types.ts";
import { formatAddress } from "../transport/address.ts";
import { Editions } from "./editions.ts";
import { HeldListeners } from "./held_listeners.ts";
import type { ActionResult } from "./operations/admin_actions.ts";
import { Operations, type OperationsAddresses } from "./operations/operations.ts";
import { PluginRecords } from "./operations/plugin_records.ts";
import type { ProgramState } from "./operations/probes.ts";
import { ProgramMetrics } from "./operations/program_metrics.ts";
import { programStatus } from "./operations/program_status.ts";
import { viewUpstreams } from "./operations/upstream_view.ts";
import { type PluginReport, reportOf } from "./plugins.ts";
import { Reloader } from "./reload.ts";
import { ServerLog } from "./server_log.ts";
import { ServiceGraph } from "./service_graph.ts";
import { onSignal, whenToldToStop } from "./signals.ts";
import { SocketSurgery } from "./socket_surgery.ts";
import { guardProcess } from "./stray_errors.ts";

/** What is told when everything serves. */
export interface ReadyInfo {
  /** With the ports that the system chose filled in. */
  readonly listeners: readonly { readonly name: string; readonly address: string }[];
  readonly plugins: readonly PluginReport[];
  readonly operations: OperationsAddresses;
}

/** Options of {@linkcode runServer}. */
export interface ServerOptions {
  /** Whether signals are listened to: SIGTERM and SIGINT drain, SIGHUP reloads, SIGUSR2 opens log files anew. */
  readonly signals: boolean;
  /** Called once, when every listener is ready. */
  readonly onReady: (info: ReadyInfo) => void;
  /** Reads the config again, for a reload. Default: what runs is made ready once more. */
  readonly load?: (() => Promise<LoadResult>) | undefined;
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
  const log = new ServerLog(config);
  const metrics = new ProgramMetrics();
  const guard = guardProcess(log.logger, metrics);
  const held = new HeldListeners();
  try {
    const change = await held.prepare(config);
    change.commit();
    await serve(change.config, options, { held, log, metrics });
  } finally {
    held.close();
    guard.release();
    await log.close();
  }
}

/** What there is from the first moment to the last. */
interface Surroundings {
  readonly held: HeldListeners;
  readonly log: ServerLog;
  readonly metrics: ProgramMetrics;
}

async function serve(
  config: Config,
  options: ServerOptions,
  { held, log: { logger }, log, metrics }: Surroundings,
): Promise<void> {
  const graph = new ServiceGraph();
  const surgery = new SocketSurgery(logger);
  const records = new PluginRecords(metrics);
  const editions = new Editions({
    config,
    held,
    log: logger,
    metrics,
    surgery,
    logLevel: (next) => log.levelOf(next),
    onPlugin: (event) => records.note(event),
  });
  for (const service of editions.services) graph.add(service);
  metrics.book.collect((sink) => {
    sink.add("sluice_log_lines_dropped_total", ["operational"], log.dropped);
    if (editions.host !== null) records.collect(sink, editions.host);
  });
  let state: ProgramState = "starting";
  const stop = whenToldToStop(options.signals, options.stop);
  const plugins = () => editions.host === null ? [] : records.status(editions.host);
  const listeners = () =>
    editions.config.listeners.map(({ name, address }) => ({
      name,
      address: formatAddress(address),
    }));
  const reloader = new Reloader({
    load: options.load ?? (() => Promise.resolve({ config: editions.config })),
    async change(next) {
      const operated = await operations.prepare(next.admin, next.metrics);
      try {
        await editions.change(next);
      } catch (error) {
        operated.abort();
        throw error;
      }
      operated.commit();
      log.follow(next);
    },
    metrics,
    log: logger,
  });
  const operations = await Operations.open({
    admin: config.admin,
    metrics: config.metrics,
    log: logger,
    subject: {
      metrics,
      actions: { drain: stop.ask, reload: () => reloadAction(reloader), upgrade: null },
      state: () => state,
      config: () => editions.config,
      status: () =>
        programStatus({
          state,
          metrics,
          listeners: listeners(),
          edges: editions.edges,
          plugins: plugins(),
        }),
      async upstreams() {
        const { edges, watch } = editions;
        const reports = await Promise.all(edges.map((edge) => edge.inspectUpstreams()));
        return viewUpstreams(watch.upstreams, watch.settings, reports.flat());
      },
      memberSetting: (group, id) => editions.watch.settings.get(group, id),
      setMember: (setting) => editions.watch.set(setting),
      plugins,
      async restartPlugin(name) {
        await editions.host!.replace(name);
      },
      logLevel: () => log.level,
      setLogLevel(level) {
        log.level = level;
        editions.tell({ kind: "log_level", level });
        logger.info(`The log level is ${level} now: an operator set it`);
      },
    },
  });
  const handlers = options.signals
    ? [
      onSignal("SIGUSR2", () => editions.reopenLogs()),
      onSignal("SIGHUP", () => void reloader.reload("SIGHUP")),
    ]
    : [];
  try {
    await graph.start();
    state = "ready";
    options.onReady({
      listeners: listeners(),
      plugins: editions.host!.loaded.map(reportOf),
      operations: operations.addresses,
    });
    const reason = await stop.asked;
    state = "draining";
    const { gracePeriod, shutdownDelay } = editions.config.server;
    if (shutdownDelay > 0) {
      logger.info(`Stopping: ${reason}; goes on serving until load balancers have noticed`, {
        delay_ms: shutdownDelay,
      });
      await new Promise((resolve) => setTimeout(resolve, shutdownDelay));
    }
    logger.info(`Draining: ${reason}`, { grace_ms: gracePeriod });
    // Held any longer, the port would go on taking connections that nobody accepts.
    held.close();
    await graph.stop();
    logger.info("Stopped");
  } finally {
    operations.close();
    stop.release();
    for (const handler of handlers) handler.release();
    surgery.close();
  }
}

/** A reload as operators ask for it. */
async function reloadAction(reloader: Reloader): Promise<ActionResult> {
  const { ok, generation, duration, error } = await reloader.reload("an operator asked to");
  return {
    ok,
    message: error ?? `Generation ${generation} of the config serves.`,
    details: { generation, duration_ms: duration },
  };
}
