/**
 * What is wrong with plugins, as people read it.
 *
 * @module
 */
import type { ConfigError } from "../config/errors.ts";

/** Something wrong with a plugin. */
export interface PluginProblem {
  readonly message: string;
  readonly file: string;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly remedy?: string | undefined;
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
