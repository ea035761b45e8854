/**
 * A service of the config as the program runs it: its workers, and what is said of them.
 *
 * @module
 */
import { chooseTlsEngine } from "../config/tls_engine.ts";
import type { Config, LogLevel, ServiceConfig } from "../config/types.ts";
import { literal, type Logger } from "../observe/log.ts";
import type { MetricSource } from "../observe/metrics/totals.ts";
import type { PhaseName } from "../plugin/phases.ts";
import type { PluginHost } from "../sandbox/host.ts";
import type { PluginsInit } from "../sandbox/wire.ts";
import type {
  EditionSetup,
  ServerMessage,
  WorkerEdition,
  WorkerMessage,
} from "../service/control.ts";
import type { TrafficHealth } from "../service/traffic_health.ts";
import type { TlsState } from "../service/tls_listeners.ts";
import type { UpstreamReport } from "../service/upstream_report.ts";
import type { UpstreamState } from "../service/upstream_runtime.ts";
import { formatAddress, type TcpAddress } from "../transport/address.ts";
import { libcAvailable } from "../transport/libc.ts";
import type { TlsEngine } from "../transport/listener.ts";
import type { EditionLedger } from "./edition_ledger.ts";
import type { HeldListeners } from "./held_listeners.ts";
import type { LeftSockets } from "./left_sockets.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";
import type { ServiceWorker } from "./service_worker.ts";
import type { SocketSurgery } from "./socket_surgery.ts";
import {
  Supervisor,
  type SupervisorEvent,
  type WorkerStatus,
  type WorkerTerms,
} from "./supervisor.ts";
import type { UpstreamReach } from "./upstream_watch.ts";
import { covers, type WorkerPermissions, workerPermissions } from "./worker_permissions.ts";

/** What an {@linkcode EdgeService} is made from. */
export interface EdgeServiceOptions {
  readonly name: string;
  readonly host: PluginHost;
  /** The edition that serves. */
  readonly edition: () => EditionSetup;
  /** Which worker still has requests of which edition. */
  readonly ledger: EditionLedger<ServiceWorker>;
  readonly metrics: ProgramMetrics;
  /** What the files of certificates hold by now. */
  readonly credentials: (config: Config) => TlsState["credentials"];
  readonly surgery: SocketSurgery;
  readonly left: LeftSockets;
  /** The sockets that are held, of which workers are lent descriptors. */
  readonly held: Pick<HeldListeners, "lend" | "takeBack">;
  /** What is logged now, which an operator may have changed. */
  readonly logLevel: (config: Config) => LogLevel;
  readonly log: Logger;
}

/** An edition that is to be served, and what was found out for it. */
export interface EditionPlan {
  readonly edition: EditionSetup;
  readonly reach: UpstreamReach;
}

/** Threads that hang before it is said that only a restart of the program gives their cores back. */
const MOST_HUNG = 2;
/** How long workers may take to say what they see; one that is busy or hangs is left out. */
const INSPECT_TIMEOUT = 1_000;

/** Workers that serve one service. */
export class EdgeService {
  readonly name: string;
  readonly #options: EdgeServiceOptions;
  #supervisor: Supervisor | null = null;
  /** How each worker reaches the plugins. */
  readonly #connected = new Map<ServiceWorker, PluginsInit>();
  /** Where each worker's metrics go. */
  readonly #sources = new Map<ServiceWorker, MetricSource>();
  /** Those who wait for an answer of each worker, by the number of their question. */
  readonly #asking = new Map<number, (upstreams: readonly UpstreamReport[]) => void>();
  #questions = 0;
  /** What was said of the TLS engine of each listener, and of addresses whose queue is not shared. */
  readonly #told = new Map<string, string>();
  #hung = 0;
  #isCut = false;

  constructor(options: EdgeServiceOptions) {
    this.#options = options;
    this.name = options.name;
  }

  /** How its workers are. */
  get workers(): WorkerStatus[] {
    return this.#supervisor?.status ?? [];
  }

  /** How many workers serve. */
  get ready(): number {
    return this.#supervisor?.ready ?? 0;
  }

  /** Threads that were given up because they hang, and may take a core each as long as the program runs. */
  get hung(): number {
    return this.#hung;
  }

  /** What the traffic of each worker has shown, by position. */
  get trafficHealth(): (TrafficHealth | null)[] {
    return this.#supervisor?.trafficHealth ?? [];
  }

  /** What each worker sees of the upstreams; those that do not answer in time are left out. */
  async inspectUpstreams(): Promise<(readonly UpstreamReport[])[]> {
    const found: (readonly UpstreamReport[])[] = [];
    const asked = this.ready;
    if (asked === 0) return found;
    const id = ++this.#questions;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, INSPECT_TIMEOUT);
      this.#asking.set(id, (upstreams) => {
        found.push(upstreams);
        if (found.length === asked) resolve();
      });
      this.tell({ kind: "inspect", id });
    });
    clearTimeout(timer);
    this.#asking.delete(id);
    return found;
  }

  /**
   * Makes the workers ready, without letting them listen.
   *
   * @throws {Error} If one cannot start. None runs then.
   */
  async start({ edition, reach }: EditionPlan): Promise<void> {
    const { ledger } = this.#options;
    this.#supervisor = new Supervisor({
      service: this.name,
      terms: this.#terms(edition, reach),
      setup: (worker, index, wanted) => {
        const connected = this.#options.host.connect();
        this.#connected.set(worker, connected);
        this.#sources.set(worker, this.#options.metrics.worker());
        const setup = wanted ?? this.#edition(edition);
        ledger.hold(setup.number, worker);
        return {
          setup: { service: this.name, index, edition: this.#dressed(setup), plugins: connected },
          transfer: [connected.wire],
        };
      },
      onGone: (worker) => {
        ledger.leave(worker);
        this.#options.held.takeBack(worker);
        this.#options.left.leave(worker);
        this.#sources.get(worker)?.end();
        this.#sources.delete(worker);
        const connected = this.#connected.get(worker);
        // A worker that died cannot say itself that it calls no plugin any more.
        if (connected !== undefined) this.#options.host.disconnect(connected);
        this.#connected.delete(worker);
      },
      onRetiring: (worker) => this.#sources.get(worker)?.retire(),
      onReleased: (worker, number) => ledger.release(number, worker),
      onEvent: (event) => this.#tell(event),
      onMessage: (worker, message) => this.#heard(worker, message),
    });
    await this.#supervisor.start();
  }

  /**
   * Lets the workers listen; resolves when all do.
   *
   * @param health What the traffic of the workers of another process has shown, by position. Default: nothing.
   * @throws {Error} If one cannot. None runs then.
   */
  async listen(health?: readonly (TrafficHealth | null)[]): Promise<void> {
    await this.#supervisor!.listen(health);
  }

  /**
   * Makes another edition ready in all workers, or in workers that are to replace them.
   *
   * @throws {Error} If one cannot; `abort` must follow then.
   */
  async prepare({ edition, reach }: EditionPlan): Promise<void> {
    const supervisor = this.#supervisor!;
    const before = this.#options.edition();
    const terms = this.#terms(edition, reach);
    const replace = !covers(supervisor.permissions, terms.permissions) ||
      inlineSlots(before) !== inlineSlots(edition) ||
      // Whether anything is counted is settled when a worker begins.
      (before.config.metrics === null) !== (edition.config.metrics === null);
    for (const worker of this.#connected.keys()) {
      if (!replace && worker.ready) this.#options.ledger.hold(edition.number, worker);
    }
    await supervisor.prepare({
      edition: this.#dressed(edition),
      // Rights that are not needed any more go with the worker that has them.
      terms: replace ? terms : { ...terms, permissions: supervisor.permissions },
      replace,
    });
  }

  /** Serves by the edition that was made ready. */
  async commit(upstreams: UpstreamState): Promise<void> {
    await this.#supervisor!.commit(upstreams);
  }

  /** Forgets the edition that was made ready. */
  abort(): void {
    this.#supervisor!.abort();
  }

  /** Tells the workers that serve something. */
  tell(message: ServerMessage): void {
    this.#supervisor?.tell(message);
  }

  /** Log files were moved away: all workers open new ones. */
  reopenLogs(): void {
    this.#supervisor?.tellAll({ kind: "reopen_logs" });
  }

  /**
   * Lets the workers finish what runs, and ends them.
   *
   * @param grace Milliseconds that this may take.
   * @param gentle Milliseconds for which connections that are idle may bring one more request.
   */
  async stop(grace: number, gentle: number): Promise<void> {
    const { log } = this.#options;
    const cut = await this.#supervisor!.drain(grace, gentle);
    if (cut > 0) {
      const why = grace === 0 || this.#isCut
        ? "they were not to be waited for"
        : "the grace period was over";
      log.warn(`${cut} connections of service ${this.name} were cut: ${why}`);
    }
  }

  /** Closes the connections to workers that drain and that are idle. */
  hurry(): void {
    this.#supervisor?.tellAll({ kind: "hurry" });
  }

  /** Cuts what the workers still wait for. */
  cut(): void {
    this.#isCut = true;
    this.#supervisor?.cut();
  }

  /** Ends the workers at once. */
  terminate(): void {
    this.#supervisor?.terminate();
  }

  #heard(worker: ServiceWorker, message: WorkerMessage): void {
    if (message.kind === "metrics") this.#sources.get(worker)?.take(message.report);
    else if (message.kind === "inspected") this.#asking.get(message.id)?.(message.upstreams);
    else if (message.kind === "cut") this.#options.surgery.cut(message.connections);
    else if (message.kind === "watches") this.#options.left.note(worker, message.loop);
    else if (message.kind === "borrow") this.#lend(worker, message.id, message.bound);
  }

  #lend(worker: ServiceWorker, id: number, bound: TcpAddress): void {
    try {
      const loan = this.#options.held.lend(bound, worker);
      worker.tell({ kind: "lent", id, loan, problem: null });
      if (loan === null) this.#warnOfQueues(formatAddress(bound));
    } catch (error) {
      worker.tell({ kind: "lent", id, loan: null, problem: (error as Error).message });
    }
  }

  #warnOfQueues(address: string): void {
    this.#warnOnce(
      address,
      `Engine handle on ${address}: without the right ffi each worker has an accept queue of its own, and who waits in it when the worker ends is reset; run with --allow-ffi, or use engine deno`,
    );
  }

  #checkEpoll(address: string): void {
    if (libcAvailable()) return;
    this.#warnOnce(
      address,
      `Engine epoll on ${address}: it needs Linux and the right ffi, so engine deno serves instead; run with --allow-ffi, or use engine deno`,
    );
  }

  #warnOnce(about: string, told: string): void {
    if (this.#told.get(about) === told) return;
    this.#told.set(about, told);
    this.#options.log.warn(told);
  }

  /** An edition with the log level and the certificates that hold now. */
  #dressed(edition: EditionSetup): WorkerEdition {
    const { config } = edition;
    const { credentials, logLevel, surgery } = this.#options;
    const engines = this.#engines(edition);
    return {
      ...edition,
      config: { ...config, log: { ...config.log, level: logLevel(config) } },
      tls: {
        credentials: credentials(config),
        engines,
        surgery: Object.keys(engines).length > 0 && surgery.available,
      },
    };
  }

  /** Chooses the TLS engine of each listener, and makes ready what the engine needs. */
  #engines(edition: EditionSetup): TlsState["engines"] {
    const { surgery, log } = this.#options;
    const { config } = edition;
    const service = serviceOf(config, this.name);
    const has = (phase: PhaseName) => usesPhase(edition, service, this.#options.host, phase);
    const hooks = { connectionFilter: has("connectionFilter"), certificate: has("certificate") };
    const engines: Record<string, TlsEngine> = {};
    for (const listener of config.listeners) {
      const { name, address, tls } = listener;
      if (listener.engine === "epoll" && service.listeners.includes(name)) {
        this.#checkEpoll(formatAddress(address));
      }
      if (tls === null || !service.listeners.includes(name)) continue;
      const choice = chooseTlsEngine(listener, { hooks, surgery: surgery.available });
      if (choice === null) continue;
      engines[name] = choice.engine;
      const told = `Listener ${name}: TLS engine ${choice.engine}: ${choice.why}`;
      if (this.#told.get(name) === told) continue;
      this.#told.set(name, told);
      log.info(told, { listener: name });
      if (choice.engine === "native" && address.kind === "tcp") surgery.ready(name, address);
    }
    return engines;
  }

  #edition(first: EditionSetup): EditionSetup {
    const current = this.#options.edition();
    return current.number < first.number ? first : current;
  }

  #terms(edition: EditionSetup, reach: UpstreamReach): WorkerTerms {
    const { config } = edition;
    const { heartbeatTimeout, retireTimeout, maxRetired } = config.server;
    const service = serviceOf(config, this.name);
    return {
      threads: service.threads,
      permissions: this.#permissions(edition, service, reach),
      inline: inlineSlots(edition) !== "",
      heartbeatTimeout,
      retireTimeout,
      maxRetired,
    };
  }

  #permissions(
    { config, slots, binds }: EditionSetup,
    service: ServiceConfig,
    reach: UpstreamReach,
  ): WorkerPermissions {
    const { host } = this.#options;
    return workerPermissions(config, service, {
      sockets: host.socketsOf(slots),
      reach,
      binds,
      libc: libcAvailable(),
      inline: host.loadedIn(slots)
        .filter(({ spec }) => spec.isolation === "inline")
        .map(({ spec, rights }) => ({ root: spec.root, rights })),
    });
  }

  #tell(event: SupervisorEvent): void {
    const { log, metrics } = this.#options;
    const worker = `Worker ${event.index} of service ${this.name}`;
    switch (event.kind) {
      case "died":
        metrics.book.add(metrics.book.place("sluice_worker_restarts_total", [this.name]), 1);
        metrics.book.add(
          metrics.book.place("sluice_worker_connections_lost_total", [this.name]),
          event.load?.connections ?? 0,
        );
        log.error(
          `${worker} died: ${literal(event.reason)}; another starts in ${event.delay} ms`,
          event.load === null ? {} : {
            connections: event.load.connections,
            requests: event.load.requests,
          },
        );
        if (event.hangs && ++this.#hung >= MOST_HUNG) {
          log.error(
            `${this.#hung} threads of service ${this.name} hang and cannot be ended; each may take a core. ` +
              `"sluice upgrade" puts a fresh process in the place of this one`,
            { hung: this.#hung },
          );
        }
        break;
      case "retired":
        log.info(`${worker}, which was replaced, has ended`, { cut: event.cut });
        break;
      case "ready":
        if (event.restarts > 0) log.info(`${worker} serves again`, { restarts: event.restarts });
        else log.debug(`${worker} serves`);
        break;
    }
  }
}

function serviceOf(config: Config, name: string): ServiceConfig {
  return config.services.find((service) => service.name === name)!;
}

/** Whether a plugin that is at work in a service has a hook. */
function usesPhase(
  { config, slots }: EditionSetup,
  service: ServiceConfig,
  host: PluginHost,
  phase: PhaseName,
): boolean {
  const used = new Set(
    service.routes.flatMap(({ plugins }) =>
      plugins.map(({ plugin }) => config.plugins[plugin]!.name)
    ),
  );
  return host.loadedIn(slots).some(({ spec, manifest }) =>
    used.has(spec.name) && manifest.phases.includes(phase)
  );
}

/** Which inline plugins run in a worker. They cannot be exchanged in it: code that was loaded stays. */
function inlineSlots({ config, slots }: EditionSetup): string {
  return slots.filter((_, i) => config.plugins[i]!.isolation === "inline").join();
}
