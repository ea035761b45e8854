/**
 * What stands below the help of a verb.
 *
 * @module
 */

/** Command lines to copy. */
export function example(...lines: string[]): string {
  return `\nExample:\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

/** Flags of Pingora's servers that are none here, and what does the same. */
const PINGORA_FLAGS: Readonly<Record<string, string>> = {
  "--conf": "write -c or --config",
  "-t": '"sluice check" loads everything and binds nothing',
  "--test": '"sluice check" loads everything and binds nothing',
  "-u": '"sluice upgrade" has the process that runs start the one that takes its place',
  "--upgrade": '"sluice upgrade" has the process that runs start the one that takes its place',
};

/** What to do instead of giving a flag that is unknown, if that is known. */
export function flagHint(message: string): string {
  const flag = /unknown option '(-[^'=]*)/.exec(message)?.[1] ?? "";
  return Object.hasOwn(PINGORA_FLAGS, flag) ? `(${PINGORA_FLAGS[flag]})\n` : "";
}
