/**
 * Why a plugin cannot be loaded, said so that the one who wrote or configured it can act.
 *
 * @module
 */

/** Where a problem is, and what to do about it. */
export interface PluginLoadErrorOptions {
  /** The file that is at fault. */
  readonly file: string;
  /** From 1. */
  readonly line?: number | undefined;
  /** From 1. */
  readonly column?: number | undefined;
  /** What to do, in one sentence or a piece of YAML. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/** A plugin cannot be loaded. `check` shows it and exits with 78. */
export class PluginLoadError extends Error {
  override readonly name: string = "PluginLoadError";
  readonly file: string;
  readonly line: number | undefined;
  readonly column: number | undefined;
  readonly remedy: string;

  constructor(message: string, options: PluginLoadErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.file = options.file;
    this.line = options.line;
    this.column = options.column;
    this.remedy = options.remedy ?? "";
  }

  /** `file:line:column`, as far as it is known. */
  get location(): string {
    if (this.line === undefined) return this.file;
    return this.column === undefined
      ? `${this.file}:${this.line}`
      : `${this.file}:${this.line}:${this.column}`;
  }
}

/** Several plugins cannot be loaded. */
export class PluginLoadErrors extends AggregateError {
  override readonly name: string = "PluginLoadErrors";
  declare readonly errors: PluginLoadError[];

  constructor(errors: readonly PluginLoadError[]) {
    super(errors, errors.map(({ message }) => message).join("; "));
  }
}

// deno-lint-ignore no-control-regex -- colour codes are control characters
const COLOURS = /\u001b\[[0-9;]*m/g;
const PLACE = /(file:\/\/[^\s")]+?):(\d+):(\d+)/g;

/** What can be read from an error that the module loader or the plugin's own code threw. */
export interface FailureText {
  readonly message: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
}

/**
 * Finds the place in the text of an error.
 *
 * @param text The message, or the stack.
 * @param prefer A path; a place below it is taken before any other.
 */
export function readFailure(text: string, prefer: string): FailureText {
  const plain = text.replace(COLOURS, "");
  let best: FailureText | null = null;
  // What follows the first line is a picture of the place, or the stack.
  const message = plain.replace(/^(?:TypeError|Error): /, "").split("\n", 1)[0]!.trim();
  for (const [, url, line, column] of plain.matchAll(PLACE)) {
    let file: string;
    try {
      file = decodeURIComponent(new URL(url!).pathname);
    } catch {
      continue;
    }
    const found = { message, file, line: Number(line), column: Number(column) };
    if (file === prefer || file.startsWith(`${prefer}/`)) return found;
    best ??= found;
  }
  return best ?? { message };
}
