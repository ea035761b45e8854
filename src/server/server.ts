/**
 * The program as a whole: starts its services in order, tells when it is ready, and ends it all in the opposite
 * order. The main thread never touches traffic.
 *
 * @module
 */
import type { Config } from "../config/types.ts";
import { type Logger, logger, startLog } from "../observe/log.ts";
import type { PluginHost } from "../sandbox/host.ts";
import { formatAddress } from "../transport/address.ts";
import { EdgeService } from "./edge_service.ts";
import { PluginEndpoints } from "./plugin_endpoints.ts";
import { type PluginReport, reportOf, startPlugins } from "./plugins.ts";
import { HeldListeners } from "./held_listeners.ts";
import { ServiceGraph } from "./service_graph.ts";
import { onReopen, whenToldToStop } from "./signals.ts";
import { UpstreamWatch } from "./upstream_watch.ts";

/** What is told when everything serves. */
export interface ReadyInfo {
  /** With the ports that the system chose filled in. */
  readonly listeners: readonly { readonly name: string; readonly address: string }[];
  readonly plugins: readonly PluginReport[];
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
  const guard = guardProcess(log);
  try {
    const held = HeldListeners.bind(config);
    try {
      await serve(held, options, log);
    } finally {
      held.close();
    }
  } finally {
    guard.release();
    await running.close();
  }
}

async function serve(held: HeldListeners, options: ServerOptions, log: Logger): Promise<void> {
  const { config } = held;
  const graph = new ServiceGraph();
  const endpoints = new PluginEndpoints(config.upstreams, log);
  let host: PluginHost | null = null;
  graph.add({
    name: "plugins",
    dependsOn: [],
    async start() {
      host = await startPlugins(config, endpoints);
    },
    stop: () => host!.close(),
  });
  const watch = new UpstreamWatch({
    config,
    log,
    plugins: endpoints,
    broadcast: (message) => edges.forEach((edge) => edge.tell(message)),
    onHealth: (change) => host?.tellHealth(change),
  });
  graph.add(watch);
  const edges: EdgeService[] = config.services.map((service) =>
    new EdgeService({ config, service, plugins: () => host!, upstreams: () => watch.state(), log })
  );
  for (const edge of edges) graph.add(edge);
  const reopen = options.signals
    ? onReopen(() => edges.forEach((edge) => edge.reopenLogs()))
    : null;
  const stop = whenToldToStop(options.signals, options.stop);
  try {
    await graph.start();
    options.onReady({
      listeners: config.listeners.map(({ name, address }) => ({
        name,
        address: formatAddress(address),
      })),
      plugins: host!.loaded.map(reportOf),
    });
    const reason = await stop.asked;
    log.info(`Draining: ${reason}`, { grace_ms: config.server.gracePeriod });
    // Held any longer, the port would go on taking connections that nobody accepts.
    held.close();
    await graph.stop();
    log.info("Stopped");
  } finally {
    stop.release();
    reopen?.release();
  }
}

/** Keeps one stray error of the main thread from ending the program. */
function guardProcess(log: Logger): { release(): void } {
  const rejected = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    log.error("A promise was rejected and nobody listened", { error: event.reason });
  };
  const thrown = (event: ErrorEvent) => {
    event.preventDefault();
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
