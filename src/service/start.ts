/**
 * The composition root of a service worker: makes the objects that a config asks for and wires them.
 *
 * @module
 */
import type { Endpoint } from "../balancer/backend.ts";
import type { HealthFlip } from "../balancer/health/messages.ts";
import { TimerWheel } from "../base/timer_wheel.ts";
import { openAccessLog } from "../observe/access_log.ts";
import { logger } from "../observe/log.ts";
import { connectPlugins } from "../sandbox/connect.ts";
import type { WorkerSetup } from "./control.ts";
import { HttpService } from "./http_service.ts";
import { ServiceObserver } from "./service_observer.ts";
import { UpstreamRuntime } from "./upstream_runtime.ts";

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
  /** Opens log files anew, after they were moved away. */
  reopenLogs(): Promise<void>;
}

/**
 * Starts a service.
 *
 * @throws {Error} If a listener cannot be bound, a log cannot be opened, or an inline plugin cannot be loaded.
 */
export async function startService(setup: WorkerSetup): Promise<RunningService> {
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
  const observer = new ServiceObserver(service.name, log, accessLog);
  const upstreams = new UpstreamRuntime(config, setup.upstreams, wheel, {
    groupChanged: (group, event) => observer.groupChanged(group, event),
    healthChanged(event) {
      observer.healthChanged(event);
      // What active checks find, the server tells plugins itself: once, and not once per worker.
      if (event.kind === "ejected" || event.kind === "returned") http.tellHealth(event);
    },
    breakerChanged: (group, state) => observer.breakerChanged(group, state),
  });
  const http: HttpService = new HttpService({
    config,
    service,
    index,
    wheel,
    handler: (plugin, use) => plugins.handler(plugin, use),
    upstreams: upstreams.upstreams,
    observer,
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
    async reopenLogs() {
      await accessLog?.reopen();
    },
  };
}
