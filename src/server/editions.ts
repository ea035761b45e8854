/**
 * The config at work in the whole program: plugins, upstreams, listeners and services by one edition of it, and the
 * step to the next, which all of them take or none.
 *
 * @module
 */
import type { Config, LogLevel } from "../config/types.ts";
import type { Logger } from "../observe/log.ts";
import type { PluginHost } from "../sandbox/host.ts";
import type { PluginEvent } from "../sandbox/runner.ts";
import { credentialsIn } from "../config/credentials.ts";
import type { EditionSetup, ServerMessage } from "../service/control.ts";
import { CertificateWatch } from "./certificate_watch.ts";
import type { MemberSetting } from "../service/upstream_runtime.ts";
import type { ServicesHealth } from "./handover.ts";
import { EdgeService } from "./edge_service.ts";
import { EditionLedger } from "./edition_ledger.ts";
import type { HeldListeners } from "./held_listeners.ts";
import type { LeftSockets } from "./left_sockets.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";
import { PluginEndpoints } from "./plugin_endpoints.ts";
import { preparePlugins, startPlugins } from "./plugins.ts";
import type { Service } from "./service_graph.ts";
import type { SocketSurgery } from "./socket_surgery.ts";
import type { ServiceWorker } from "./service_worker.ts";
import { UpstreamWatch } from "./upstream_watch.ts";

/** What {@linkcode Editions} are made from. */
export interface EditionsOptions {
  /** The first edition, with its ports bound. */
  readonly config: Config;
  readonly binds: EditionSetup["binds"];
  readonly held: HeldListeners;
  readonly log: Logger;
  readonly metrics: ProgramMetrics;
  readonly surgery: SocketSurgery;
  readonly left: LeftSockets;
  /** What is logged with a config, which an operator may have changed. */
  readonly logLevel: (config: Config) => LogLevel;
  /** Called when everything is ready and nothing listens yet; tells what the process before this one knows. */
  readonly onPrepared: () => Promise<ServicesHealth>;
  /** Aborted when the program begins to end: what has not started by then need not. */
  readonly signal: AbortSignal;
  /** Told of what happens to plugins. */
  readonly onPlugin: (event: PluginEvent) => void;
  /** Key of the sticky cookies that have none of their own. Default: drawn. */
  readonly stickySecret?: string | undefined;
  /** What operators have set in the process before this one. */
  readonly settings?: readonly MemberSetting[] | undefined;
}

/** How long connections that are idle may bring one more request when another process takes over, in milliseconds. */
const GENTLE_TIME = 5_000;

/** Why nothing is changed any more. */
const STOPPING = "the program is stopping";

/** What has to be taken back if the next edition is refused, in the opposite order. */
type Undo = () => void | Promise<void>;

/** The edition that serves, and those that have requests left. */
export class Editions {
  readonly #options: EditionsOptions;
  readonly #endpoints: PluginEndpoints;
  readonly #watch: UpstreamWatch;
  readonly #edges = new Map<string, EdgeService>();
  /** Services that are no more, and finish what they have. */
  readonly #leaving = new Map<EdgeService, Promise<void>>();
  readonly #certificates: CertificateWatch;
  readonly #ledger: EditionLedger<ServiceWorker>;
  #host: PluginHost | null = null;
  #config: Config;
  #binds: EditionSetup["binds"];
  /** Number of the edition that serves. */
  #number = 1;
  /** Number of the last edition that was tried. */
  #tried = 1;
  readonly #started = Promise.withResolvers<void>();
  /** Gives up the part of a change that is being waited for. */
  #interrupt: (reason: Error) => void = () => {};
  /** What comes next waits for it: at first, for everything to have started. */
  #work: Promise<unknown> = this.#started.promise;
  #closed: string | null = null;
  #gentle = 0;
  #isCut = false;

  constructor(options: EditionsOptions) {
    const { config, log } = options;
    this.#options = options;
    this.#config = config;
    this.#binds = options.binds;
    this.#endpoints = new PluginEndpoints(config.upstreams, log);
    this.#watch = new UpstreamWatch({
      config,
      log,
      metrics: options.metrics,
      plugins: this.#endpoints,
      stickySecret: options.stickySecret,
      settings: options.settings,
      broadcast: (message) => this.tell(message),
      onHealth: (change) => this.#host?.tellHealth(change),
      replaceWorkers: () => this.change(this.#config),
    });
    this.#certificates = new CertificateWatch({
      config,
      log,
      metrics: options.metrics,
      broadcast: (message) => this.tell(message),
    });
    options.metrics.book.collect((sink) => {
      for (const { name, ready, hung } of this.edges) {
        sink.add("sluice_workers", [name], ready);
        sink.add("sluice_worker_threads_hung", [name], hung);
      }
    });
    this.#ledger = new EditionLedger({ onUnused: (slots) => void this.#host?.release(slots) });
  }

  /** The config that serves, with its ports bound. */
  get config(): Config {
    return this.#config;
  }

  /** The plugins; `null` before they have started. */
  get host(): PluginHost | null {
    return this.#host;
  }

  /** The services that serve. */
  get edges(): EdgeService[] {
    return [...this.#edges.values()];
  }

  /** What is known of the upstreams. */
  get watch(): UpstreamWatch {
    return this.#watch;
  }

  /** Key of the sticky cookies that have none of their own. */
  get stickySecret(): string {
    return this.#watch.stickySecret;
  }

  /** What the traffic of all service workers has shown. */
  get trafficHealth(): ServicesHealth {
    return Object.fromEntries(this.edges.map((edge) => [edge.name, edge.trafficHealth]));
  }

  /** What the program starts and stops, in order. */
  get services(): Service[] {
    return [
      {
        name: "plugins",
        dependsOn: [],
        start: async () => {
          this.#host = await startPlugins(
            this.#config,
            this.#endpoints,
            this.#options.onPlugin,
            this.#options.signal,
          );
        },
        stop: () => this.#host!.close(),
      },
      this.#watch,
      this.#certificates,
      {
        name: "edges",
        dependsOn: ["plugins", "upstreams", "certificates"],
        start: () => this.#startEdges(),
        stop: () => this.#stopEdges(),
      },
    ];
  }

  /** Tells the workers that serve something. */
  tell(message: ServerMessage): void {
    for (const edge of this.#edges.values()) edge.tell(message);
  }

  /** Why nothing is changed any more; `null`: a change may be tried. */
  get closed(): string | null {
    return this.#closed;
  }

  /**
   * Somebody else takes what is new: nothing is changed any more, and the drain to come may be gentle with connections
   * that are idle.
   *
   * @param pid The process that serves now.
   */
  relieve(pid: number): void {
    this.#closed = `process ${pid} serves in the place of this one: reload that`;
    this.#gentle = Math.min(GENTLE_TIME, this.#config.server.gracePeriod / 2);
  }

  /** A stop, now or later, does not wait for what runs. */
  cut(): void {
    this.#isCut = true;
    for (const edge of [...this.#edges.values(), ...this.#leaving.keys()]) edge.cut();
  }

  /** Log files were moved away: all workers open new ones. */
  reopenLogs(): void {
    for (const edge of [...this.#edges.values(), ...this.#leaving.keys()]) edge.reopenLogs();
  }

  /** Does something that must not come between the halves of a change. */
  exclusively<T>(task: () => Promise<T>): Promise<T> {
    const work = this.#work.then(task);
    this.#work = work.then(() => {}, () => {});
    return work;
  }

  /**
   * Serves by another config. One after the other, when several are asked for.
   *
   * @throws {PluginStartError} If plugins cannot be loaded.
   * @throws {Error} If anything else of it cannot be made ready. The edition before goes on then, untouched.
   */
  change(written: Config): Promise<void> {
    return this.exclusively(() => {
      if (this.#closed !== null) throw new Error(this.#closed);
      return this.#change(written);
    });
  }

  async #startEdges(): Promise<void> {
    const { slots } = this.#host!;
    this.#ledger.open(1, slots);
    const plan = { edition: this.#current(), reach: this.#watch.reach };
    for (const { name } of this.#config.services) this.#edges.set(name, this.#makeEdge(name));
    const edges = [...this.#edges.values()];
    try {
      await all(edges.map((edge) => edge.start(plan)));
      const health = await this.#options.onPrepared();
      await all(edges.map((edge) => edge.listen(health[edge.name])));
    } catch (error) {
      for (const edge of edges) edge.terminate();
      throw error;
    }
    const { retireTimeout, maxRetired } = this.#config.server;
    this.#ledger.serve(1, retireTimeout, maxRetired);
    this.#started.resolve();
  }

  async #stopEdges(): Promise<void> {
    this.#closed ??= STOPPING;
    this.#interrupt(new Error(STOPPING));
    this.#watch.settle();
    // What is half done of a change is finished or taken back first: it would start workers behind our back.
    await this.#work;
    const grace = this.#isCut ? 0 : this.#config.server.gracePeriod;
    const gentle = this.#isCut ? 0 : this.#gentle;
    const leaving = [...this.#leaving];
    const hurry = setTimeout(() => leaving.forEach(([edge]) => edge.hurry()), gentle);
    const timer = setTimeout(() => leaving.forEach(([edge]) => edge.cut()), grace);
    await Promise.all([
      ...[...this.#edges.values()].map((edge) => edge.stop(grace, gentle)),
      ...leaving.map(([, left]) => left),
    ]);
    clearTimeout(hurry);
    clearTimeout(timer);
    this.#ledger.close();
  }

  async #change(written: Config): Promise<void> {
    const undo: Undo[] = [];
    try {
      await this.#switch(written, undo);
    } catch (error) {
      for (const step of undo.reverse()) await step();
      throw error;
    }
  }

  async #switch(written: Config, undo: Undo[]): Promise<void> {
    const host = this.#host!;
    const number = ++this.#tried;
    const held = await this.#options.held.prepare(written);
    undo.push(held.abort);
    const { config, binds } = held;
    const plugins = await this.#unlessStopped(preparePlugins(host, config));
    undo.push(plugins.abort);
    const watch = await this.#unlessStopped(this.#watch.prepare(config, plugins.started));
    undo.push(watch.abort);
    const edition: EditionSetup = {
      number,
      config,
      upstreams: watch.state(),
      slots: plugins.slots,
      binds,
    };
    this.#ledger.open(number, plugins.slots);
    undo.push(() => this.#ledger.cancel(number));
    const { reach } = watch;
    const { kept, added, removed } = this.#sort(config);
    undo.push(() => {
      for (const edge of kept) edge.abort();
      for (const edge of added) edge.terminate();
    });
    await this.#unlessStopped(all([
      ...kept.map((edge) => edge.prepare({ edition, reach })),
      ...added.map((edge) => edge.start({ edition, reach })),
    ]));

    // From here on nothing is taken back.
    undo.length = 0;
    plugins.commit();
    watch.commit();
    this.#certificates.follow(config);
    this.#config = config;
    this.#binds = binds;
    this.#number = number;
    for (const edge of removed) this.#dismiss(edge);
    for (const edge of added) this.#edges.set(edge.name, edge);
    await Promise.all([
      ...kept.map((edge) => edge.commit(watch.state())),
      ...added.map((edge) => this.#listen(edge)),
    ]);
    held.commit();
    this.#ledger.serve(number, config.server.retireTimeout, config.server.maxRetired);
  }

  /**
   * Waits for a part of the next edition, which may take long: a plugin that never ends its setup must not keep the
   * program from stopping. What it gives too late is taken back.
   */
  async #unlessStopped<T extends { abort(): unknown } | void>(part: Promise<T>): Promise<T> {
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    this.#interrupt = reject;
    try {
      return await Promise.race([part, stopped]);
    } catch (error) {
      part.then((late) => late?.abort(), () => {});
      throw error;
    } finally {
      this.#interrupt = () => {};
    }
  }

  async #listen(edge: EdgeService): Promise<void> {
    try {
      edge.tell({ kind: "refresh", upstreams: this.#watch.state() });
      await edge.listen();
    } catch (error) {
      this.#options.log.error(`Service ${edge.name} does not listen`, { error });
    }
  }

  /** Services of a config: those there are, those to come and those to go. */
  #sort(config: Config) {
    const names = new Set(config.services.map(({ name }) => name));
    const edges = [...this.#edges.values()];
    return {
      kept: edges.filter(({ name }) => names.has(name)),
      removed: edges.filter(({ name }) => !names.has(name)),
      added: [...names].filter((name) => !this.#edges.has(name))
        .map((name) => this.#makeEdge(name)),
    };
  }

  #makeEdge(name: string): EdgeService {
    return new EdgeService({
      name,
      host: this.#host!,
      edition: () => this.#current(),
      ledger: this.#ledger,
      metrics: this.#options.metrics,
      surgery: this.#options.surgery,
      left: this.#options.left,
      held: this.#options.held,
      credentials: (config) =>
        config === this.#config ? this.#certificates.state() : credentialsIn(config),
      logLevel: this.#options.logLevel,
      log: this.#options.log,
    });
  }

  #dismiss(edge: EdgeService): void {
    this.#edges.delete(edge.name);
    const { retireTimeout } = this.#config.server;
    const left = edge.stop(retireTimeout, retireTimeout)
      .finally(() => this.#leaving.delete(edge));
    this.#leaving.set(edge, left);
  }

  #current(): EditionSetup {
    return {
      number: this.#number,
      config: this.#config,
      upstreams: this.#watch.state(),
      slots: this.#host!.slots,
      binds: this.#binds,
    };
  }
}

/** Waits for all, and then throws what one of them threw. */
async function all(work: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === "rejected") throw result.reason;
  }
}
