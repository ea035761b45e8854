/**
 * What is wrong with a config, and where, for people.
 *
 * @module
 */

/** One thing that is wrong. */
export interface ConfigError {
  /** The file as the user named it. */
  readonly file: string;
  /** From 1; `0` when the error has no place in the file. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** Characters under the caret. */
  readonly length: number;
  /** The line as it stands in the file. */
  readonly source: string;
  readonly message: string;
  /** What to do; empty if there is nothing to say. */
  readonly remedy: string;
}

const WIDTH = 120;

/** Orders errors by their place. */
export function sortErrors(errors: readonly ConfigError[]): ConfigError[] {
  return [...errors].sort((a, b) =>
    a.line - b.line || a.column - b.column || a.message.localeCompare(b.message)
  );
}

/**
 * Prints errors, each with its line and a caret under the place.
 *
 * @returns Text that ends in a newline; empty for no errors.
 */
export function formatErrors(errors: readonly ConfigError[]): string {
  return sortErrors(errors).map((one) => formatError(one, "error")).join("\n");
}

/** Prints warnings in the same way. */
export function formatWarnings(warnings: readonly ConfigError[]): string {
  return sortErrors(warnings).map((one) => formatError(one, "warning")).join("\n");
}

function formatError(error: ConfigError, severity: "error" | "warning"): string {
  const place = error.line === 0 ? error.file : `${error.file}:${error.line}:${error.column}`;
  const lines = [`${place}: ${severity}: ${error.message}`];
  if (error.line > 0) {
    const { text, column, length } = clip(error);
    const number = String(error.line).padStart(5);
    const gutter = " ".repeat(number.length);
    // Tabs stay tabs, so that the caret stands under its character whatever they are worth.
    const indent = text.slice(0, column - 1).replace(/[^\t]/g, " ");
    lines.push(`${number} | ${text}`, `${gutter} | ${indent}${"^".repeat(length)}`);
  }
  if (error.remedy !== "") lines.push(`   remedy: ${error.remedy}`);
  return `${lines.join("\n")}\n`;
}

/** The part of a long line that is worth showing. */
function clip(error: ConfigError): { text: string; column: number; length: number } {
  // Control characters in a config must not drive the terminal.
  // deno-lint-ignore no-control-regex
  let text = error.source.replace(/[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]/g, "?");
  let column = error.column;
  if (text.length > WIDTH) {
    const from = Math.max(0, Math.min(column - 40, text.length - WIDTH));
    text = (from > 0 ? "…" : "") + text.slice(from, from + WIDTH);
    column = column - from + (from > 0 ? 1 : 0);
  }
  const length = Math.max(1, Math.min(error.length, text.length - column + 1));
  return { text, column, length };
}
