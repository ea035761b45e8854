/**
 * What is wrong with plugins, as people read it.
 *
 * @module
 */
import { ConfigDocument } from "../config/document.ts";
import type { ConfigError } from "../config/errors.ts";
import { withoutOutside } from "../config/outside.ts";
import type { Config } from "../config/types.ts";

/** Something wrong with a plugin. */
export interface PluginProblem {
  readonly message: string;
  readonly file: string;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly remedy?: string | undefined;
}

/**
 * Plugin problems in the form of config errors, with the line they stand in.
 *
 * @param config What they were found with: what came from outside into it, and what is secret in it, is not shown.
 */
export function pluginErrors(problems: readonly PluginProblem[], config: Config): ConfigError[] {
  return problems.map((problem) => {
    const line = problem.line ?? 0;
    return {
      file: problem.file,
      line,
      column: problem.column ?? (line === 0 ? 0 : 1),
      length: 1,
      source: line === 0 ? "" : sourceLine(problem.file, line),
      message: withoutOutside(problem.message, config),
      remedy: problem.remedy ?? "",
    };
  });
}

/** Only lines are wanted, not values. */
const UNREAD = { env: () => "", file: () => "" };

function sourceLine(file: string, line: number): string {
  try {
    const text = Deno.readTextFileSync(file);
    if (/\.[cm]?[jt]sx?$/.test(file)) return text.split(/\r?\n/)[line - 1] ?? "";
    return new ConfigDocument(file, text, UNREAD).lineAt(line);
  } catch {
    return "";
  }
}
