/**
 * Plugins as the program and `check` see them: what they are, what they may do, what becomes of them.
 *
 * @module
 */
import { TimerWheel } from "../base/timer_wheel.ts";
import type { Config } from "../config/types.ts";
import { literal, logger } from "../observe/log.ts";
import { connectPlugins } from "../sandbox/connect.ts";
import { type PluginChange, PluginHost } from "../sandbox/host.ts";
import { PluginLoadError, PluginLoadErrors } from "../sandbox/load_error.ts";
import { inspectPlugins as inspectSpecs } from "../sandbox/loader.ts";
import { settleRights } from "../sandbox/permissions.ts";
import type { PluginEvent } from "../sandbox/runner.ts";
import type { PluginEndpoints } from "./plugin_endpoints.ts";
import type { PluginProblem } from "./plugin_problems.ts";
import { type PluginReport, reportOf } from "./plugin_report.ts";

export { type PluginReport, reportOf };

/**
 * Loads every plugin of a config in a sandbox, with its rights and its configs, and ends it again: `setup` and
 * `dispose` are called, no hook is.
 */
export async function inspectPlugins(
  config: Config,
): Promise<{ reports: PluginReport[]; errors: PluginProblem[] }> {
  const reports: PluginReport[] = [];
  const errors: PluginProblem[] = [];
  for (const { spec, manifest, error } of await inspectSpecs(config.plugins)) {
    if (error !== null) {
      errors.push(problem(error));
      continue;
    }
    reports.push(reportOf({ spec, manifest, rights: settleRights(manifest, spec) }));
  }
  if (errors.length > 0) return { reports, errors };
  for (const plugin of config.plugins) {
    // One by one, so that all that is wrong is told at once.
    try {
      await tryOut(plugin);
    } catch (error) {
      if (!(error instanceof PluginLoadError)) throw error;
      errors.push(problem(error));
    }
  }
  return { reports, errors };
}

/** Starts one plugin with all its configs, and ends it. */
async function tryOut(plugin: Config["plugins"][number]): Promise<void> {
  const host = await PluginHost.start({ plugins: [plugin] });
  try {
    if (plugin.isolation !== "inline") return;
    // Inline plugins are set up where they run. They are trusted, so here is as good as in a service worker.
    const timers = new TimerWheel();
    const connections = await connectPlugins(host.connect(), { timers });
    await connections.close();
    timers.close();
  } finally {
    await host.close();
  }
}

/** The plugins of a config cannot all be loaded. */
export class PluginStartError extends Error {
  override readonly name: string = "PluginStartError";
  readonly problems: readonly PluginProblem[];

  constructor(problems: readonly PluginProblem[]) {
    super(problems.map(({ message }) => message).join("; "));
    this.problems = problems;
  }
}

/**
 * Starts the plugins of a config.
 *
 * @param endpoints Takes the endpoints that they name.
 * @param onEvent Told of what happens to them.
 * @param signal Gives it up.
 * @throws {PluginStartError} If one cannot be loaded: tells of all that cannot.
 */
export async function startPlugins(
  config: Config,
  endpoints: PluginEndpoints,
  onEvent: (event: PluginEvent) => void,
  signal: AbortSignal,
): Promise<PluginHost> {
  try {
    return await PluginHost.start({
      plugins: config.plugins,
      signal,
      onEvent: (event) => {
        onEvent(event);
        if (event.kind === "endpoints") endpoints.found(event.plugin, event.list);
        else logPluginEvent(event);
      },
    });
  } catch (error) {
    throw explain(error);
  }
}

/**
 * Makes the plugins of another edition of the config ready.
 *
 * @throws {PluginStartError} If one cannot be loaded: tells of all that cannot. Nothing has changed then.
 */
export async function preparePlugins(host: PluginHost, config: Config): Promise<PluginChange> {
  try {
    return await host.prepare(config.plugins);
  } catch (error) {
    throw explain(error);
  }
}

/** All that is wrong is told at once. */
function explain(error: unknown): unknown {
  if (error instanceof PluginLoadErrors) return new PluginStartError(error.errors.map(problem));
  return error instanceof PluginLoadError ? new PluginStartError([problem(error)]) : error;
}

function problem(error: PluginLoadError): PluginProblem {
  return {
    message: error.message,
    file: error.file,
    line: error.line,
    column: error.column,
    remedy: error.remedy,
  };
}

/** Writes what happens to plugins, and what they say, to the operational log. */
function logPluginEvent(event: Exclude<PluginEvent, { readonly kind: "endpoints" }>): void {
  const log = logger("plugin", event.plugin);
  switch (event.kind) {
    case "started":
      log.debug("Started", { ms: Math.round(event.milliseconds) });
      break;
    case "replaced":
      log.info("Replaced by a fresh sandbox", { ms: Math.round(event.milliseconds) });
      break;
    case "restarted":
      log.info("Runs again", { ms: Math.round(event.milliseconds) });
      break;
    case "crashed":
      log.error(
        `Ended (${event.cause}): ${literal(event.message)}; starts again in ${event.restartIn} ms`,
      );
      break;
    case "breaker_open":
      log.error(
        `Ended too often: left alone for ${event.milliseconds} ms; its hooks fail until then`,
      );
      break;
    case "log":
      log[event.level](literal(event.message), event.fields ?? {});
      break;
  }
}
