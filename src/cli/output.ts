/**
 * How the command line speaks: plain aligned text, and five exit codes.
 *
 * @module
 */
import { INTERRUPTED } from "../server/signals.ts";

/** Exit codes. 78 is EX_CONFIG of sysexits, 130 what shells make of SIGINT. */
export const EXIT = { ok: 0, runtime: 1, usage: 2, config: 78, interrupted: INTERRUPTED } as const;

/** Ends a verb with an exit code. */
export class CliExit extends Error {
  override readonly name: string = "CliExit";
  readonly code: number;

  /** @param message Printed on stderr, unless it is empty. */
  constructor(code: number, message: string = "") {
    super(message);
    this.code = code;
  }
}

/** Where verbs print. */
export interface Output {
  /** Prints to standard output. */
  out(text: string): void;
  /** Prints to standard error. */
  err(text: string): void;
}

/** The output of the process. A reader that has gone away is no error. */
export const PROCESS_OUTPUT: Output = {
  out: (text) => writeAll(Deno.stdout, text),
  err: (text) => writeAll(Deno.stderr, text),
};

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Rows in columns, two spaces apart, the first row being the heading. */
export function table(rows: readonly (readonly string[])[], indent: string = ""): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  }
  return rows.map((row) => {
    const cells = row.map((cell, i) => i === row.length - 1 ? cell : cell.padEnd(widths[i]!));
    return `${indent}${cells.join("  ").trimEnd()}\n`;
  }).join("");
}

/** `1 route`, `2 routes`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
