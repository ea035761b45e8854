/**
 * A service of the config as the program runs it: its workers, and what is said of them.
 *
 * @module
 */
import { chooseTlsEngine } from "../config/tls_engine.ts";
import type { Config, LogLevel, ServiceConfig } from "../config/types.ts";
import { literal, type Logger } from "../observe/log.ts";
import type { PhaseName } from "../plugin/phases.ts";
import type { PluginHost } from "../sandbox/host.ts";
import type { MetricSource } from "../observe/metrics/totals.ts";
import type { PluginsInit } from "../sandbox/wire.ts";
import type { ServerMessage, WorkerMessage } from "../service/control.ts";
import type { TlsState } from "../service/tls_listeners.ts";
import type { UpstreamReport } from "../service/upstream_report.ts";
import type { UpstreamState } from "../service/upstream_runtime.ts";
import type { TlsEngine } from "../transport/listener.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";
import type { Service } from "./service_graph.ts";
import type { SocketSurgery } from "./socket_surgery.ts";
import { Supervisor, type SupervisorEvent, type WorkerStatus } from "./supervisor.ts";
import { upstreamReach } from "./upstream_reach.ts";
import { workerPermissions } from "./worker_permissions.ts";

/** What an {@linkcode EdgeService} is made from. */
export interface EdgeServiceOptions {
  readonly config: Config;
  readonly service: ServiceConfig;
  /** The plugins; running before the service starts. */
  readonly plugins: () => PluginHost;
  /** What is known of the upstreams. */
  readonly upstreams: () => UpstreamState;
  readonly metrics: ProgramMetrics;
  /** What is logged now, which an operator may have changed. */
  readonly logLevel: () => LogLevel;
  /** What the files of certificates hold by now. */
  readonly credentials: () => TlsState["credentials"];
  readonly surgery: SocketSurgery;
  readonly log: Logger;
}

/** How long workers may take to say what they see; one that is busy or hangs is left out. */
const INSPECT_TIMEOUT = 1_000;

/** Workers that serve one service. */
export class EdgeService implements Service {
  readonly name: string;
  readonly dependsOn: readonly string[] = ["plugins", "upstreams", "certificates"];
  readonly #options: EdgeServiceOptions;
  #supervisor: Supervisor | null = null;
  /** How each worker reaches the plugins. */
  readonly #connected = new Map<number, PluginsInit>();
  /** Where each worker's metrics go. */
  readonly #sources = new Map<number, MetricSource>();
  /** Those who wait for an answer of each worker, by the number of their question. */
  readonly #asking = new Map<number, (upstreams: readonly UpstreamReport[]) => void>();
  #questions = 0;

  constructor(options: EdgeServiceOptions) {
    this.#options = options;
    this.name = `edge:${options.service.name}`;
    options.metrics.book.collect((sink) => {
      sink.add("sluice_workers", [options.service.name], this.#supervisor?.ready ?? 0);
    });
  }

  /** How its workers are. */
  get workers(): WorkerStatus[] {
    return this.#supervisor?.status ?? [];
  }

  /** What each worker sees of the upstreams; those that do not answer in time are left out. */
  async inspectUpstreams(): Promise<(readonly UpstreamReport[])[]> {
    const found: (readonly UpstreamReport[])[] = [];
    const asked = this.#supervisor?.ready ?? 0;
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

  async start(): Promise<void> {
    const { config, service, plugins } = this.#options;
    const host = plugins();
    const engines = this.#engines(host);
    this.#supervisor = new Supervisor({
      service: service.name,
      threads: service.threads,
      permissions: workerPermissions(config, service, {
        sockets: host.socketPaths,
        reach: await upstreamReach(config),
        inline: host.loaded
          .filter(({ spec }) => spec.isolation === "inline")
          .map(({ spec, rights }) => ({ root: spec.root, rights })),
      }),
      setup: (index) => {
        this.#disconnect(index);
        this.#sources.set(index, this.#options.metrics.worker());
        const connected = host.connect();
        this.#connected.set(index, connected);
        return {
          message: {
            kind: "start",
            setup: {
              service: service.name,
              index,
              config: { ...config, log: { ...config.log, level: this.#options.logLevel() } },
              upstreams: this.#options.upstreams(),
              tls: {
                credentials: this.#options.credentials(),
                engines,
                surgery: this.#options.surgery.available,
              },
              plugins: connected,
            },
          },
          transfer: [connected.wire],
        };
      },
      onEvent: (event) => this.#tell(event),
      onMessage: (index, message) => this.#heard(index, message),
    });
    await this.#supervisor.start();
  }

  /** Tells all workers something. */
  tell(message: ServerMessage): void {
    this.#supervisor?.broadcast(() => ({ message, transfer: [] }));
  }

  /** Log files were moved away: all workers open new ones. */
  reopenLogs(): void {
    this.tell({ kind: "reopen_logs" });
  }

  async stop(): Promise<void> {
    const { log, service, config } = this.#options;
    const cut = await this.#supervisor!.drain(config.server.gracePeriod);
    if (cut > 0) {
      log.warn(`${cut} connections of service ${service.name} were cut: the grace period was over`);
    }
  }

  #heard(index: number, message: WorkerMessage): void {
    if (message.kind === "metrics") this.#sources.get(index)?.take(message.report);
    else if (message.kind === "inspected") this.#asking.get(message.id)?.(message.upstreams);
    else if (message.kind === "cut") this.#options.surgery.cut(message.connections);
  }

  /** Chooses the TLS engine of each listener, and makes ready what the engine needs. */
  #engines(host: PluginHost): TlsState["engines"] {
    const { config, service, surgery, log } = this.#options;
    const has = (phase: PhaseName) => usesPhase(config, service, host, phase);
    const hooks = { connectionFilter: has("connectionFilter"), certificate: has("certificate") };
    const engines: Record<string, TlsEngine> = {};
    for (const listener of config.listeners) {
      if (!service.listeners.includes(listener.name)) continue;
      const choice = chooseTlsEngine(listener, { hooks, surgery: surgery.available });
      if (choice === null) continue;
      engines[listener.name] = choice.engine;
      log.info(`Listener ${listener.name}: TLS engine ${choice.engine}: ${choice.why}`, {
        listener: listener.name,
      });
      if (choice.engine === "native" && listener.address.kind === "tcp") {
        surgery.ready(listener.name, listener.address);
      }
    }
    return engines;
  }

  /** A worker that died cannot say itself that it calls no plugin any more. */
  #disconnect(index: number): void {
    this.#sources.get(index)?.end();
    this.#sources.delete(index);
    const connected = this.#connected.get(index);
    if (connected !== undefined) this.#options.plugins().disconnect(connected);
    this.#connected.delete(index);
  }

  #tell(event: SupervisorEvent): void {
    const { log, service, metrics } = this.#options;
    if (event.kind === "died") {
      this.#disconnect(event.index);
      metrics.book.add(
        metrics.book.place("sluice_worker_restarts_total", [service.name]),
        1,
      );
    }
    const worker = `Worker ${event.index} of service ${service.name}`;
    if (event.kind === "died") {
      log.error(`${worker} died: ${literal(event.reason)}; another starts in ${event.delay} ms`);
    } else if (event.restarts > 0) {
      log.info(`${worker} serves again`, { restarts: event.restarts });
    } else {
      log.debug(`${worker} serves`);
    }
  }
}

/** Whether a plugin that is at work in a service has a hook. */
function usesPhase(
  config: Config,
  service: ServiceConfig,
  host: PluginHost,
  phase: PhaseName,
): boolean {
  const used = new Set(
    service.routes.flatMap(({ plugins }) =>
      plugins.map(({ plugin }) => config.plugins[plugin]!.name)
    ),
  );
  return host.loaded.some(({ spec, manifest }) =>
    used.has(spec.name) && manifest.phases.includes(phase)
  );
}
