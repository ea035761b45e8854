/**
 * The composition root of a service worker: makes the objects that a config asks for and wires them.
 *
 * @module
 */
import type { Endpoint } from "../balancer/backend.ts";
import type { HealthFlip } from "../balancer/health/messages.ts";
import { TimerWheel } from "../base/timer_wheel.ts";
import { openAccessLog } from "../observe/access_log.ts";
import { logger, type RunningLog } from "../observe/log.ts";
import { MetricBook, type MetricReport } from "../observe/metrics/book.ts";
import { connectPlugins } from "../sandbox/connect.ts";
import type { WorkerMessage, WorkerSetup } from "./control.ts";
import { HttpService } from "./http_service.ts";
import type { ListenerCredentials } from "../config/credentials.ts";
import { MeteredHandler } from "./metered_handler.ts";
import { RequestMetrics } from "./request_metrics.ts";
import { ServiceObserver } from "./service_observer.ts";
import { strayErrors } from "./stray_errors.ts";
import { reportUpstreams, type UpstreamReport } from "./upstream_report.ts";
import { TlsListeners } from "./tls_listeners.ts";
import { type MemberSetting, UpstreamRuntime } from "./upstream_runtime.ts";

/** A service that runs in this worker. */
export interface RunningService {
  /**
   * Finishes what runs, writes what is left to write, and stops.
   *
   * @param grace Milliseconds that requests may still take.
   * @returns How many connections were cut.
   */
  drain(grace: number): Promise<number>;
  /** The members of an upstream group are others now. */
  setEndpoints(group: string, endpoints: readonly Endpoint[]): void;
  /** A member of a group has begun or ceased to work. */
  applyFlip(flip: HealthFlip): void;
  /** An operator has set something for a member of a group. */
  applySetting(setting: MemberSetting): void;
  /** The upstream groups as this worker sees them. */
  reportUpstreams(): UpstreamReport[];
  /** What is counted, as it stands; `null` without metrics. */
  metrics(): MetricReport | null;
  /** The files of a listener's certificates hold something else now. */
  replaceCredentials(listener: string, credentials: ListenerCredentials): void;
  /** Opens log files anew, after they were moved away. */
  reopenLogs(): Promise<void>;
}

/**
 * Starts a service.
 *
 * @param running The operational log.
 * @param say Tells the server.
 * @throws {Error} If a listener cannot be bound, a log cannot be opened, or an inline plugin cannot be loaded.
 */
export async function startService(
  setup: WorkerSetup,
  running: RunningLog,
  say: (message: WorkerMessage) => void,
): Promise<RunningService> {
  const { config, index } = setup;
  const service = config.services.find(({ name }) => name === setup.service)!;
  const log = logger("service", service.name);
  const accessLog = openAccessLog(
    config.accessLog,
    (error) => log.error("The access log cannot be written", { error }),
  );
  const wheel = new TimerWheel();
  const plugins = await connectPlugins(setup.plugins, {
    timers: wheel,
    onChange: () => http.replan(),
  });
  const book = config.metrics === null ? null : new MetricBook();
  const requests = book && new RequestMetrics(book, service.name);
  const observer = new ServiceObserver(service.name, log, accessLog, requests);
  const upstreams = new UpstreamRuntime(config, setup.upstreams, wheel, {
    groupChanged: (group, event) => observer.groupChanged(group, event),
    healthChanged(event) {
      observer.healthChanged(event);
      if (event.kind === "ejected" || event.kind === "returned") {
        const labels = [event.group, event.kind] as const;
        book?.add(book.place("sluice_upstream_health_flips_total", labels), 1);
      }
      // What active checks find, the server tells plugins itself: once, and not once per worker.
      if (event.kind === "ejected" || event.kind === "returned") http.tellHealth(event);
    },
    breakerChanged: (group, state) => observer.breakerChanged(group, state),
  }, requests && ((group, outcome) => requests.attempted(group, outcome)));
  const tls = new TlsListeners(setup.tls, (connections) => say({ kind: "cut", connections }));
  const http: HttpService = new HttpService({
    config,
    service,
    index,
    wheel,
    handler(plugin, use) {
      const handler = plugins.handler(plugin, use);
      return book === null ? handler : new MeteredHandler(handler, book);
    },
    upstreams: upstreams.upstreams,
    observer,
    tls,
  });
  book?.collect((sink) => {
    http.collect(sink);
    sink.add("sluice_log_lines_dropped_total", ["access"], accessLog?.dropped ?? 0);
    sink.add("sluice_log_lines_dropped_total", ["operational"], running.dropped);
    sink.add("sluice_unhandled_errors_total", ["service"], strayErrors());
  });
  await http.listen();
  upstreams.keepWarm(http.connector);
  return {
    async drain(grace) {
      const cut = await http.drain(grace);
      upstreams.stop();
      await plugins.close();
      wheel.close();
      await accessLog?.close();
      return cut;
    },
    setEndpoints: (group, endpoints) => upstreams.setEndpoints(group, endpoints),
    applyFlip: (flip) => upstreams.applyFlip(flip),
    applySetting: (setting) => upstreams.applySetting(setting),
    reportUpstreams: () => reportUpstreams(upstreams.upstreams.all, http.connector),
    metrics: () => book && book.report(),
    replaceCredentials: (listener, credentials) => tls.replace(listener, credentials),
    async reopenLogs() {
      await accessLog?.reopen();
    },
  };
}
