/**
 * The program as a whole: starts its services in order, tells when it is ready, follows what signals and operators ask
 * for, and ends it all in the opposite order. The main thread never touches traffic.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { formatErrors } from "../config/errors.ts";
import type { LoadResult } from "../config/load.ts";
import type { Config } from "../config/types.ts";
import { logger } from "../observe/log.ts";
import { formatAddress } from "../transport/address.ts";
import { DaemonStarter } from "./daemon.ts";
import { changeIdentity } from "./change_identity.ts";
import { Editions } from "./editions.ts";
import { FileWatch } from "./file_watch.ts";
import { FreedMemory } from "./freed_memory.ts";
import { goAhead, type ServicesHealth, type Takeover, takeOver } from "./handover.ts";
import { type HeldChange, HeldListeners } from "./held_listeners.ts";
import { activatedDescriptors, InheritedSockets } from "./inherited.ts";
import { LeftSockets } from "./left_sockets.ts";
import { Notifier } from "./notify.ts";
import type { ActionResult } from "./operations/admin_actions.ts";
import type { AdminSubject } from "./operations/admin_api.ts";
import { Operations, type OperationsAddresses } from "./operations/operations.ts";
import { PluginRecords } from "./operations/plugin_records.ts";
import type { ProgramState } from "./operations/probes.ts";
import { ProgramMetrics } from "./operations/program_metrics.ts";
import { programStatus } from "./operations/program_status.ts";
import { viewUpstreams } from "./operations/upstream_view.ts";
import { PidFile } from "./pid_file.ts";
import { PidLock } from "./pid_lock.ts";
import { type PluginReport, reportOf } from "./plugins.ts";
import { checkIdentity } from "./privileges.ts";
import { planReload } from "./reload_plan.ts";
import { Reloader } from "./reload.ts";
import { ServerLog } from "./server_log.ts";
import { ServiceGraph } from "./service_graph.ts";
import { onSignal, whenToldToStop } from "./signals.ts";
import { SocketSurgery } from "./socket_surgery.ts";
import { guardProcess } from "./stray_errors.ts";
import { handOver, upgradeFailure } from "./upgrade.ts";

/** What is told when everything serves. */
export interface ReadyInfo {
  /** With the ports that the system chose filled in. */
  readonly listeners: readonly { readonly name: string; readonly address: string }[];
  readonly plugins: readonly PluginReport[];
  readonly operations: OperationsAddresses;
}

/** Options of {@linkcode runServer}. */
export interface ServerOptions {
  /**
   * Whether signals are listened to: SIGTERM drains, SIGINT cuts what runs and ends, SIGHUP reloads, SIGQUIT upgrades,
   * SIGUSR2 opens log files anew.
   */
  readonly signals: boolean;
  /** Called once, when every listener is ready. */
  readonly onReady: (info: ReadyInfo) => void;
  /** Reads the config again, for a reload. Default: what runs is made ready once more. */
  readonly load?: (() => Promise<LoadResult>) | undefined;
  /** The config file, to be watched if it says so. Default: none. */
  readonly file?: string | null | undefined;
  /** Ends it, as a signal would. */
  readonly stop?: AbortSignal;
}

/** How long what has begun to start may take when it is told to stop, in milliseconds. */
const START_PATIENCE = 2_000;

/**
 * Runs until told to stop, then drains: what runs is finished, for as long as the grace period at most, unless it is
 * cut before.
 *
 * @returns Whether a signal cut short a drain that had begun.
 * @throws {PluginStartError} If plugins cannot be loaded.
 * @throws {Error} If it cannot start for another reason. Nothing runs then.
 */
export async function runServer(config: Config, options: ServerOptions): Promise<boolean> {
  const starter = await DaemonStarter.find();
  if (starter === null) return await runOnce(config, options);
  const alone = new AbortController();
  try {
    return await runOnce(config, {
      ...options,
      abandoned: starter.gone,
      stop: AbortSignal.any([alone.signal, ...options.stop === undefined ? [] : [options.stop]]),
      async onReady(info) {
        options.onReady(info);
        try {
          await starter.ready(config.log.file);
        } catch (error) {
          logger("server").error("Whoever started this process in the background has gone", {
            error,
          });
          alone.abort();
        }
      },
    });
  } finally {
    starter.close();
  }
}

async function runOnce(config: Config, options: InnerOptions): Promise<boolean> {
  const takeover = await takeOver();
  const { identity, workingDirectory } = config.server;
  if (identity !== null) checkIdentity(identity);
  if (workingDirectory !== null) Deno.chdir(workingDirectory);
  const log = new ServerLog(config, identity !== null);
  const metrics = new ProgramMetrics();
  const guard = guardProcess(log.logger, metrics);
  const descriptors = [...takeover?.state.sockets ?? [], ...activatedDescriptors()];
  const inherited = new InheritedSockets(descriptors, log.logger);
  const held = new HeldListeners(inherited, takeover?.state.paths);
  try {
    const change = await held.prepare(config);
    change.commit();
    if (identity !== null) {
      changeIdentity({ config, identity, file: options.file ?? null, log: log.logger });
      log.open();
    }
    return await new Program(change, options, { takeover, inherited, held, log, metrics }).run();
  } finally {
    held.close();
    guard.release();
    await log.close();
  }
}

/** What {@linkcode Program} takes: it waits until whoever is told has done his part. */
interface InnerOptions extends Omit<ServerOptions, "onReady"> {
  /** Rejects when nobody waits any more for it to serve. Default: somebody does. */
  readonly abandoned?: Promise<never>;
  readonly onReady: (info: ReadyInfo) => Promise<void> | void;
}

/** What there is from the first moment to the last. */
interface Surroundings {
  /** The process that this one takes the place of; `null`: none. */
  readonly takeover: Takeover | null;
  readonly inherited: InheritedSockets;
  readonly held: HeldListeners;
  readonly log: ServerLog;
  readonly metrics: ProgramMetrics;
}

class Program {
  readonly #options: InnerOptions;
  readonly #around: Surroundings;
  readonly #graph = new ServiceGraph();
  readonly #editions: Editions;
  readonly #records: PluginRecords;
  readonly #reloader: Reloader;
  readonly #operations: Operations;
  readonly #notifier: Notifier;
  readonly #files: FileWatch;
  readonly #surgery: SocketSurgery;
  readonly #left = new LeftSockets();
  readonly #freed = new FreedMemory();
  readonly #pidFile: PidFile | null;
  readonly #pidLock = new PidLock();
  readonly #stop: ReturnType<typeof whenToldToStop>;
  /** Aborted when it begins to end. */
  readonly #ending = new AbortController();
  #state: ProgramState = "starting";
  #upgrading: Promise<ActionResult> | null = null;
  /** Whether another process serves in the place of this one. */
  #relieved = false;

  constructor({ config, binds }: HeldChange, options: InnerOptions, around: Surroundings) {
    const { takeover, inherited, held, log, metrics } = around;
    const { logger } = log;
    this.#options = options;
    this.#around = around;
    this.#surgery = new SocketSurgery(logger);
    this.#records = new PluginRecords(metrics);
    this.#editions = new Editions({
      config,
      binds,
      held,
      signal: this.#ending.signal,
      log: logger,
      metrics,
      surgery: this.#surgery,
      left: this.#left,
      stickySecret: takeover?.state.stickySecret,
      settings: takeover?.state.settings,
      logLevel: (next) => log.levelOf(next),
      onPlugin: (event) => this.#records.note(event),
      onPrepared: () => this.#takeOver(),
    });
    for (const service of this.#editions.services) this.#graph.add(service);
    metrics.book.collect((sink) => {
      sink.add("sluice_log_lines_dropped_total", ["operational"], log.dropped);
      if (this.#editions.host !== null) this.#records.collect(sink, this.#editions.host);
    });
    this.#stop = whenToldToStop(options.signals, options.stop);
    this.#notifier = Notifier.open({
      log: logger,
      successor: takeover !== null,
      healthy: () => this.#editions.edges.every(({ ready }) => ready > 0),
    });
    this.#reloader = new Reloader({
      load: options.load ?? (() => Promise.resolve({ config: this.#editions.config })),
      change: (next) => this.#change(next),
      metrics,
      log: logger,
      onState: (reloading) => {
        if (reloading) this.#notifier.reloading();
        else this.#notifier.reloaded(this.#status());
      },
    });
    this.#files = new FileWatch(
      options.file ?? null,
      () => void this.#reloader.reload("files have changed"),
    );
    const { pidFile } = config.server;
    this.#pidFile = pidFile === null ? null : new PidFile(pidFile, logger);
    this.#operations = new Operations({
      log: logger,
      subject: this.#subject(),
      inherited,
      takeOver: takeover !== null,
    });
  }

  /** @returns Whether a signal cut short a drain that had begun. */
  async run(): Promise<boolean> {
    const { takeover } = this.#around;
    const handlers = this.#options.signals
      ? [
        onSignal("SIGUSR2", () => {
          this.#editions.reopenLogs();
          this.#around.log.reopen();
        }),
        onSignal("SIGHUP", () => void this.#reloader.reload("SIGHUP")),
        onSignal("SIGQUIT", () => void this.#upgrade("SIGQUIT", true)),
      ]
      : [];
    const { pidFile } = this.#editions.config.server;
    try {
      if (takeover === null && pidFile !== null) PidLock.check(pidFile.path);
      // Probes have an answer from the first moment on; those of a process that still serves are left to it.
      if (takeover === null) await this.#openOperations();
      if (await this.#start()) {
        // Somebody who was told to stop meanwhile takes nobody's place.
        if (!this.#stop.begun) await this.#announce();
        else if (takeover !== null) this.#notifier.silence();
        await this.#end(await this.#stop.asked);
      }
      return this.#stop.interrupted;
    } finally {
      this.#operations.close();
      this.#files.close();
      this.#pidFile?.remove();
      this.#pidLock.release();
      this.#notifier.close();
      this.#stop.release();
      for (const handler of handlers) handler.release();
      this.#surgery.close();
      this.#left.close();
      this.#freed.close();
    }
  }

  /**
   * Starts everything.
   *
   * @returns Whether all of it serves. If it was told to stop before, what has begun is left to the end of the process
   * if it cannot be waited for.
   */
  async #start(): Promise<boolean> {
    const { logger } = this.#around.log;
    const waiting = this.#options.abandoned?.catch((error: Error) => {
      logger.error(`${error.message}: this process ends`);
      throw error;
    });
    const all = Promise.race([this.#graph.start(), ...waiting === undefined ? [] : [waiting]]);
    const started = all.then(() => true);
    const reason = await Promise.race([started.then(() => null), this.#stop.asked]);
    if (reason === null) return true;
    logger.info(`Stopping: ${reason}, before anything served`);
    this.#ending.abort(new Error("the program is stopping"));
    const settled = started.catch(() => false);
    return await Promise.race([settled, pause(START_PATIENCE).then(() => false)]);
  }

  /** Everything serves. */
  async #announce(): Promise<void> {
    const { inherited, takeover } = this.#around;
    const { pidFile } = this.#editions.config.server;
    inherited.close();
    this.#state = "ready";
    this.#pidFile?.write();
    if (pidFile !== null) this.#pidLock.hold(pidFile.path);
    this.#notifier.ready(this.#status());
    this.#files.follow(this.#editions.config);
    await takeover?.ready();
    await this.#options.onReady({
      listeners: this.#listeners(),
      plugins: this.#editions.host!.loaded.map(reportOf),
      operations: this.#operations.addresses,
    });
  }

  /** Finishes what runs, or cuts it, and stops everything. */
  async #end(reason: string): Promise<void> {
    const { held, log: { logger } } = this.#around;
    const { cut } = this.#stop;
    this.#state = "draining";
    this.#ending.abort();
    this.#files.close();
    this.#notifier.stopping();
    const { gracePeriod, shutdownDelay } = this.#editions.config.server;
    if (shutdownDelay > 0 && !this.#relieved && !cut.aborted) {
      logger.info(`Stopping: ${reason}; goes on serving until load balancers have noticed`, {
        delay_ms: shutdownDelay,
      });
      await pause(shutdownDelay, cut);
    }
    if (!cut.aborted) logger.info(`Draining: ${reason}`, { grace_ms: gracePeriod });
    const cutAll = () => {
      logger.info(`Cutting what runs: ${cut.reason}`);
      this.#editions.cut();
    };
    if (cut.aborted) cutAll();
    else cut.addEventListener("abort", cutAll);
    // Held any longer, the port would go on taking connections that nobody accepts.
    held.close();
    await this.#graph.stop();
    cut.removeEventListener("abort", cutAll);
    logger.info("Stopped");
  }

  async #openOperations(): Promise<void> {
    const { admin, metrics } = this.#editions.config;
    const opened = await this.#operations.prepare(admin, metrics);
    opened.commit();
  }

  /** Everything is ready, and nothing listens yet: a process that serves till now is asked to let go. */
  async #takeOver(): Promise<ServicesHealth> {
    const { takeover } = this.#around;
    if (takeover === null) return {};
    const health = await takeover.prepared();
    await this.#openOperations();
    return health;
  }

  /** Serves by another config, or throws and changes nothing. */
  async #change(next: Config): Promise<void> {
    // Before anything is opened that may be the other process's by now.
    const { closed } = this.#editions;
    if (closed !== null) throw new Error(closed);
    const operated = await this.#operations.prepare(next.admin, next.metrics);
    try {
      await this.#editions.change(next);
    } catch (error) {
      operated.abort();
      throw error;
    }
    operated.commit();
    this.#around.log.follow(next);
    this.#files.follow(next);
  }

  #upgrade(reason: string, signalled: boolean): Promise<ActionResult> {
    return this.#upgrading ??= this.#editions.exclusively(() => this.#handOver(reason, signalled))
      .finally(() => this.#upgrading = null);
  }

  async #handOver(reason: string, signalled: boolean): Promise<ActionResult> {
    const { held, log: { logger } } = this.#around;
    if (this.#state !== "ready") {
      return { ok: false, message: `This process is ${this.#state}: it has nothing to hand over.` };
    }
    logger.info(`Upgrading: ${reason}`);
    const { upgradeSock, upgradeTimeout } = this.#editions.config.server;
    try {
      const pid = await handOver({
        sockets: [...held.sockets, ...this.#operations.sockets],
        state: {
          paths: held.paths,
          stickySecret: this.#editions.stickySecret,
          settings: this.#editions.watch.settings.all,
        },
        goAhead: () => goAhead(this.#editions.trafficHealth),
        path: upgradeSock,
        signal: this.#ending.signal,
        timeout: upgradeTimeout,
        log: logger,
      });
      this.#relieved = true;
      this.#editions.relieve(pid);
      this.#operations.leave();
      this.#notifier.silence();
      this.#stop.ask(`process ${pid} serves in its place`, signalled);
      return { ok: true, message: `Process ${pid} serves.`, details: { pid } };
    } catch (error) {
      if (this.#ending.signal.aborted) {
        logger.info("The upgrade is given up: this process is about to end");
        return { ok: false, message: "The upgrade is given up: the process is about to end." };
      }
      logger.error(`The upgrade has failed: ${upgradeFailure(error)}; this process goes on`);
      const message = error instanceof Error ? error.message : String(error);
      return {
        ok: false,
        message: `The upgrade has failed: ${message}. Process ${Deno.pid} goes on.`,
      };
    }
  }

  /** What a reload would do. */
  async #changes(): Promise<ActionResult> {
    const { load } = this.#options;
    if (load === undefined) return { ok: true, message: "", details: { changes: [] } };
    const { config, errors } = await load();
    if (errors !== undefined) return { ok: false, message: formatErrors(errors) };
    const touched = await this.#editions.host!.touched(config.plugins);
    // Ports that were found for port 0 are what the file means.
    const { listeners } = this.#editions.config;
    const after = { ...config, listeners: this.#around.held.known(config.listeners) };
    const changes = planReload({ ...this.#editions.config, listeners }, after, touched);
    return { ok: true, message: `${changes.length} changes`, details: { changes } };
  }

  #status(): string {
    return `Serving generation ${this.#around.metrics.generation} of the config`;
  }

  #listeners(): ReadyInfo["listeners"] {
    return this.#editions.config.listeners.map(({ name, address }) => ({
      name,
      address: formatAddress(address),
    }));
  }

  /** What operators see and do. */
  #subject(): Omit<AdminSubject, "admin"> {
    const { log, metrics } = this.#around;
    const editions = this.#editions;
    const plugins = () => editions.host === null ? [] : this.#records.status(editions.host);
    return {
      metrics,
      actions: {
        drain: (reason) => this.#stop.ask(reason, false),
        reload: () => reloadAction(this.#reloader),
        changes: () => this.#changes(),
        upgrade: () => this.#upgrade("an operator asked to", false),
      },
      state: () => this.#state,
      config: () => editions.config,
      status: () =>
        programStatus({
          state: this.#state,
          metrics,
          listeners: this.#listeners(),
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
        log.logger.info(`The log level is ${level} now: an operator set it`);
      },
    };
  }
}

/** Waits, until a signal at most. */
async function pause(ms: number, until?: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: until }).catch(() => {});
}

/** A reload as operators ask for it. */
async function reloadAction(reloader: Reloader): Promise<ActionResult> {
  const { ok, generation, duration, error } = await reloader.reload("an operator asked to");
  return {
    ok,
    message: error?.trimEnd() ?? `Generation ${generation} of the config serves.`,
    details: { generation, duration_ms: duration },
  };
}
