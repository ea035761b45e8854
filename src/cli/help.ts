/**
 * What stands below the help of a verb.
 *
 * @module
 */

/** Command lines to copy. */
export function example(...lines: string[]): string {
  return `\nExample:\n${lines.map((line) => `  ${line}\n`).join("")}`;
}
