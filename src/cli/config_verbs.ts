/**
 * `config schema`, `config dump` and `plugin list`.
 *
 * @module
 */
import { resolve } from "node:path";
import { configFromFlags } from "../config/flags.ts";
import { configSchema } from "../config/json_schema.ts";
import { shownConfig } from "../config/shown.ts";
import type { Config } from "../config/types.ts";
import { reportText } from "./describe.ts";
import { pluginErrors } from "../server/plugin_problems.ts";
import { errorText } from "./load.ts";
import { CliExit, EXIT, type Output } from "./output.ts";
import type { Inspection, Program } from "./program.ts";

/** Prints the JSON Schema of the file; with a folder of plugins, with their configs. */
export async function printSchema(
  directory: string | undefined,
  program: Program,
  output: Output,
): Promise<void> {
  const schemas: Record<string, unknown> = {};
  if (directory !== undefined) {
    const { reports } = await inspectFolder(directory, program);
    for (const report of reports) {
      if (report.configSchema !== null) schemas[report.name] = report.configSchema;
    }
  }
  output.out(`${JSON.stringify(configSchema(schemas), null, 2)}\n`);
}

/** Prints the config with every default filled in, and without what may be secret. */
export function dump(config: Config, output: Output): void {
  output.out(`${JSON.stringify(shownConfig(config), null, 2)}\n`);
}

/** Prints the plugins of a folder. */
export async function listPlugins(
  directory: string,
  json: boolean,
  program: Program,
  output: Output,
): Promise<void> {
  const { reports } = await inspectFolder(directory, program);
  if (json) output.out(`${JSON.stringify(reports, null, 2)}\n`);
  else if (reports.length === 0) output.out(`${directory} holds no plugins\n`);
  else output.out(reports.map(reportText).join(""));
}

/** Loads the plugins of a folder with no rights. Their configs are not known, so those are not judged. */
async function inspectFolder(directory: string, program: Program): Promise<Inspection> {
  const result = await configFromFlags(
    { plugins: directory, upstream: "http://127.0.0.1:1", grant: "as-requested" },
    program.findPlugins,
  );
  if (result.errors !== undefined) throw new CliExit(EXIT.config, errorText(result.errors));
  const { config } = result;
  if (config.plugins.length === 0) return { reports: [], errors: [] };
  const bare: Config = {
    ...config,
    plugins: config.plugins.map((plugin) => ({ ...plugin, uses: [] })),
  };
  const inspection = await program.inspectPlugins(bare);
  if (inspection.errors.length > 0) {
    throw new CliExit(EXIT.config, errorText(pluginErrors(inspection.errors, config)));
  }
  return {
    ...inspection,
    reports: inspection.reports.map((one) => ({ ...one, file: resolve(one.file) })),
  };
}
