/**
 * The composition root of a service worker: makes the objects that a config asks for and wires them.
 *
 * @module
 */
import { TimerWheel } from "../base/timer_wheel.ts";
import { openAccessLog } from "../observe/access_log.ts";
import { logger } from "../observe/log.ts";
import { connectPlugins } from "../sandbox/connect.ts";
import type { WorkerSetup } from "./control.ts";
import { HttpService } from "./http_service.ts";
import { ServiceObserver } from "./service_observer.ts";

/** A service that runs in this worker. */
export interface RunningService {
  /**
   * Finishes what runs, writes what is left to write, and stops.
   *
   * @param grace Milliseconds that requests may still take.
   * @returns How many connections were cut.
   */
  drain(grace: number): Promise<number>;
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
  const http: HttpService = new HttpService({
    config,
    service,
    index,
    wheel,
    handler: (plugin, use) => plugins.handler(plugin, use),
    observer: new ServiceObserver(service.name, log, accessLog),
  });
  await http.listen();
  return {
    async drain(grace) {
      const cut = await http.drain(grace);
      await plugins.close();
      wheel.close();
      await accessLog?.close();
      return cut;
    },
    async reopenLogs() {
      await accessLog?.reopen();
    },
  };
}
