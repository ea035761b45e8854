/**
 * What the verbs call. Loaded when needed: `config schema` must not cost the time to load a server.
 *
 * @module
 */
import type { FindPlugins } from "../config/found_plugins.ts";
import type { Config } from "../config/types.ts";
import type { LoadResult } from "../config/load.ts";
import type { DaemonOptions } from "../server/daemon.ts";
import type { PluginProblem } from "../server/plugin_problems.ts";
import type { PluginReport } from "../server/plugins.ts";
import type { PlannedChange } from "../server/reload_plan.ts";
import type { ReadyInfo } from "../server/server.ts";

export type { PluginProblem, PluginReport, ReadyInfo };

/** Options of {@linkcode Program.runServer}. */
export interface RunOptions {
  /** Whether the server listens to signals. */
  readonly signals: boolean;
  /** Called once, when every listener is ready. */
  readonly onReady: (info: ReadyInfo) => void;
  /** Reads the config again, for a reload. */
  readonly load?: (() => Promise<LoadResult>) | undefined;
  /** The config file. */
  readonly file?: string | null | undefined;
}

/** What {@linkcode Program.inspectPlugins} found. */
export interface Inspection {
  readonly reports: readonly PluginReport[];
  readonly errors: readonly PluginProblem[];
}

/** The rest of the program, as the command line sees it. */
export interface Program {
  /**
   * Runs until it is told to stop; rejects when it cannot start, with `problems` if plugins are the reason.
   *
   * @returns Whether a signal cut its end short.
   */
  runServer(config: Config, options: RunOptions): Promise<boolean>;
  /** Starts this program again in the background, and waits until it serves; gives its process id. */
  startDaemon(options: DaemonOptions): Promise<number>;
  /** Loads each plugin in its sandbox, without traffic. */
  inspectPlugins(config: Config): Promise<Inspection>;
  /** What a reload from one config to another would do. */
  planReload(before: Config, after: Config): Promise<PlannedChange[]>;
  /** Lists the plugins of a folder. */
  readonly findPlugins: FindPlugins;
}

/** The program itself. */
export const PROGRAM: Program = {
  async runServer(config, options) {
    const { runServer } = await import("../server/server.ts");
    return await runServer(config, options);
  },
  async startDaemon(options) {
    const { startDaemon } = await import("../server/daemon.ts");
    return await startDaemon(options);
  },
  async inspectPlugins(config) {
    const { inspectPlugins } = await import("../server/plugins.ts");
    return await inspectPlugins(config);
  },
  async planReload(before, after) {
    const { planReload } = await import("../server/reload_plan.ts");
    return planReload(before, after);
  },
  async findPlugins(directory) {
    const { findPlugins } = await import("../sandbox/loader.ts");
    return await findPlugins(directory);
  },
};
