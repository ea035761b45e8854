/**
 * Reading the config again and serving by it, or saying why not.
 *
 * @module
 */
import { type ConfigError, formatErrors, formatWarnings } from "../config/errors.ts";
import type { LoadResult } from "../config/load.ts";
import { withoutOutside } from "../config/outside.ts";
import type { Config } from "../config/types.ts";
import { literal, type Logger } from "../observe/log.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";
import { pluginErrors } from "./plugin_problems.ts";
import { PluginStartError } from "./plugins.ts";

/** What a {@linkcode Reloader} works with. */
export interface ReloaderOptions {
  /** Reads the config as the command line names it. */
  readonly load: () => Promise<LoadResult>;
  /** Serves by another config, or throws and changes nothing. */
  readonly change: (config: Config) => Promise<void>;
  /** Counts the configs that came to serve, and takes note of those that did not. */
  readonly metrics: ProgramMetrics;
  readonly log: Logger;
  /** Called before and after each reload. */
  readonly onState?: (reloading: boolean) => void;
}

/** What became of a reload. */
export interface ReloadOutcome {
  readonly ok: boolean;
  /** The generation that serves. */
  readonly generation: number;
  /** How long it took, in milliseconds. */
  readonly duration: number;
  /** All that is wrong, as `check` prints it; `null` when nothing is. */
  readonly error: string | null;
}

/** Reloads, one after the other. */
export class Reloader {
  readonly #options: ReloaderOptions;
  #running: Promise<ReloadOutcome> | null = null;
  /** Those who asked while one was running share the one after it. */
  #next: Promise<ReloadOutcome> | null = null;

  constructor(options: ReloaderOptions) {
    this.#options = options;
  }

  /**
   * Reads the config and serves by it. Never rejects: what is wrong stands in the outcome, and in the log.
   *
   * @param reason Who asked, for the log.
   */
  reload(reason: string): Promise<ReloadOutcome> {
    if (this.#running === null) return this.#begin(reason);
    // The files may have changed since the running one has read them.
    return this.#next ??= this.#running.then(() => {
      this.#next = null;
      return this.#begin(reason);
    });
  }

  #begin(reason: string): Promise<ReloadOutcome> {
    return this.#running = this.#run(reason).finally(() => this.#running = null);
  }

  async #run(reason: string): Promise<ReloadOutcome> {
    const { log, metrics, onState } = this.#options;
    const began = performance.now();
    log.info(`Reloading: ${literal(reason)}`);
    onState?.(true);
    const error = await this.#attempt();
    const duration = Math.round(performance.now() - began);
    metrics.reloaded(error === null);
    onState?.(false);
    const { generation } = metrics;
    if (error === null) log.info("Reloaded", { generation, ms: duration });
    else {
      log.error(`The new config is refused; generation ${generation} goes on`);
      for (const line of error.trimEnd().split("\n")) log.error(literal(line));
    }
    return { ok: error === null, generation, duration, error };
  }

  /** @returns What is wrong; `null`: nothing, and the new config serves. */
  async #attempt(): Promise<string | null> {
    const { load, change, log } = this.#options;
    let result: LoadResult;
    try {
      result = await load();
    } catch (error) {
      return `${messageOf(error)}\n`;
    }
    if (result.errors !== undefined) return errorText(result.errors);
    const { config } = result;
    try {
      await change(config);
      const warnings = formatWarnings(result.warnings ?? []);
      for (const line of warnings.split("\n")) if (line !== "") log.warn(literal(line));
      return null;
    } catch (error) {
      if (error instanceof PluginStartError) {
        return errorText(pluginErrors(error.problems, config));
      }
      return `${withoutOutside(messageOf(error), config)}\n`;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function errorText(errors: readonly ConfigError[]): string {
  return `${formatErrors(errors)}\n`;
}
