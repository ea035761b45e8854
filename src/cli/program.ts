/**
 * What the verbs call. Loaded when needed: `config schema` must not cost the time to load a server.
 *
 * @module
 */
import type { FindPlugins } from "../config/found_plugins.ts";
import type { Config } from "../config/types.ts";
import type { Permissions } from "../plugin/plugin.ts";

/** A listener that is ready. */
export interface ReadyListener {
  readonly name: string;
  /** As it can be connected to, the port that the system chose filled in. */
  readonly address: string;
}

/** What is known when the server is ready. */
export interface ReadyInfo {
  readonly listeners: readonly ReadyListener[];
}

/** Options of {@linkcode Program.runServer}. */
export interface RunOptions {
  /** Whether the server listens to signals. */
  readonly signals: boolean;
  /** Called once, when every listener is ready. */
  readonly onReady: (info: ReadyInfo) => void;
}

/** What a plugin is and asks for, as `check` prints it. */
export interface PluginReport {
  readonly name: string;
  readonly version: string;
  readonly file: string;
  readonly isolation: string;
  readonly phases: readonly string[];
  /** What it asks for. */
  readonly asked: Permissions;
  /** What it gets. */
  readonly granted: Permissions;
  /** JSON Schema of its config, where its schema can tell. */
  readonly configSchema?: unknown;
}

/** Something wrong with a plugin, its rights or its config. */
export interface PluginProblem {
  readonly message: string;
  readonly file: string;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly remedy?: string | undefined;
}

/** What {@linkcode Program.inspectPlugins} found. */
export interface Inspection {
  readonly reports: readonly PluginReport[];
  readonly errors: readonly PluginProblem[];
}

/** The rest of the program, as the command line sees it. */
export interface Program {
  /** Runs until it is told to stop; rejects when it cannot start. */
  runServer(config: Config, options: RunOptions): Promise<void>;
  /** Loads each plugin in its sandbox, without traffic. */
  inspectPlugins(config: Config): Promise<Inspection>;
  /** Lists the plugins of a folder. */
  readonly findPlugins: FindPlugins;
}

/** The program itself. */
export const PROGRAM: Program = {
  async runServer(config, options) {
    const { runServer } = await import("../server/server.ts");
    await runServer(config, options);
  },
  async inspectPlugins(config) {
    const { inspectPlugins } = await import("../server/plugins.ts");
    return await inspectPlugins(config);
  },
  async findPlugins(directory) {
    const { findPlugins } = await import("../sandbox/loader.ts");
    return await findPlugins(directory);
  },
};
