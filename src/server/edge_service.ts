/**
 * A service of the config as the program runs it: its workers, and what is said of them.
 *
 * @module
 */
import type { Config, ServiceConfig } from "../config/types.ts";
import { literal, type Logger } from "../observe/log.ts";
import type { PluginHost } from "../sandbox/host.ts";
import type { PluginsInit } from "../sandbox/wire.ts";
import type { ServerMessage } from "../service/control.ts";
import type { UpstreamState } from "../service/upstream_runtime.ts";
import type { Service } from "./service_graph.ts";
import { Supervisor, type SupervisorEvent } from "./supervisor.ts";
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
  readonly log: Logger;
}

/** Workers that serve one service. */
export class EdgeService implements Service {
  readonly name: string;
  readonly dependsOn: readonly string[] = ["plugins", "upstreams"];
  readonly #options: EdgeServiceOptions;
  #supervisor: Supervisor | null = null;
  /** How each worker reaches the plugins. */
  readonly #connected = new Map<number, PluginsInit>();

  constructor(options: EdgeServiceOptions) {
    this.#options = options;
    this.name = `edge:${options.service.name}`;
  }

  async start(): Promise<void> {
    const { config, service, plugins } = this.#options;
    const host = plugins();
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
        const connected = host.connect();
        this.#connected.set(index, connected);
        return {
          message: {
            kind: "start",
            setup: {
              service: service.name,
              index,
              config,
              upstreams: this.#options.upstreams(),
              plugins: connected,
            },
          },
          transfer: [connected.wire],
        };
      },
      onEvent: (event) => this.#tell(event),
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

  /** A worker that died cannot say itself that it calls no plugin any more. */
  #disconnect(index: number): void {
    const connected = this.#connected.get(index);
    if (connected !== undefined) this.#options.plugins().disconnect(connected);
    this.#connected.delete(index);
  }

  #tell(event: SupervisorEvent): void {
    if (event.kind === "died") this.#disconnect(event.index);
    const { log, service } = this.#options;
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
