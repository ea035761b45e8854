/**
 * The usual reason phrases.
 *
 * @module
 */
import { STATUS_CODES } from "node:http";

const PHRASES: string[] = new Array(1000).fill("");
for (const [status, phrase] of Object.entries(STATUS_CODES)) PHRASES[Number(status)] = phrase ?? "";

/** The usual reason phrase of a status, or an empty string. */
export function reasonPhrase(status: number): string {
  return PHRASES[status] ?? "";
}
