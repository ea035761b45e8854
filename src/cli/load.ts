/**
 * Getting a config for a verb, or ending it with 78.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { type ConfigError, formatErrors } from "../config/errors.ts";
import { loadConfig, type LoadResult } from "../config/load.ts";
import type { Config } from "../config/types.ts";
import { CliExit, count, EXIT } from "./output.ts";
import type { Program } from "./program.ts";

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

/**
 * Reads a config file: the config, or all that is wrong with it.
 *
 * @param daemon Whether it is to go on in the background, whatever the file says.
 */
export function read(file: string, program: Program, daemon?: boolean): Promise<LoadResult> {
  return loadConfig(file, Deno.env.toObject(), { findPlugins: program.findPlugins, daemon });
}

/** Loads a config file. */
export async function load(file: string, program: Program): Promise<Config> {
  const result = await read(file, program);
  if (result.errors !== undefined) throw new CliExit(EXIT.config, errorText(result.errors));
  return result.config;
}

/** Errors with their number. */
export function errorText(errors: readonly ConfigError[]): string {
  return `${formatErrors(errors)}\n${count(errors.length, "error")}\n`;
}
