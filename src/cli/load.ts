/**
 * Getting a config for a verb, or ending it with 78.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { type ConfigError, formatErrors } from "../config/errors.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/types.ts";
import { CliExit, count, EXIT } from "./output.ts";
import type { PluginProblem, Program } from "./program.ts";

/** Files that are looked for when `-c` is not given. */
const USUAL_FILES = ["sluice.yaml", "sluice.yml"];

/** The file of `-c`, or the usual one. */
export function configFile(given: string | undefined): string {
  if (given !== undefined) return given;
  const found = USUAL_FILES.find((file) => existsSync(file));
  if (found === undefined) {
    throw new CliExit(
      EXIT.usage,
      "error: name a config file with -c FILE; there is no sluice.yaml here\n",
    );
  }
  return found;
}

/** Loads a config file. */
export async function load(file: string, program: Program): Promise<Config> {
  const result = await loadConfig(file, Deno.env.toObject(), {
    findPlugins: program.findPlugins,
  });
  if (result.errors !== undefined) throw new CliExit(EXIT.config, errorText(result.errors));
  return result.config;
}

/** Errors with their number. */
export function errorText(errors: readonly ConfigError[]): string {
  return `${formatErrors(errors)}\n${count(errors.length, "error")}\n`;
}

/** Plugin problems in the form of config errors, with the line they stand in. */
export function pluginErrors(problems: readonly PluginProblem[]): ConfigError[] {
  return problems.map((problem) => {
    const line = problem.line ?? 0;
    return {
      file: problem.file,
      line,
      column: problem.column ?? (line === 0 ? 0 : 1),
      length: 1,
      source: line === 0 ? "" : sourceLine(problem.file, line),
      message: problem.message,
      remedy: problem.remedy ?? "",
    };
  });
}

function sourceLine(file: string, line: number): string {
  try {
    return Deno.readTextFileSync(file).split(/\r?\n/)[line - 1] ?? "";
  } catch {
    return "";
  }
}
