/**
 * Which version this is.
 *
 * @module
 */
import manifest from "../../deno.json" with { type: "json" };

/** The version of Sluice. */
export const VERSION: string = manifest.version;

/** Versions, one per line. */
export function versionText(): string {
  return `sluice ${VERSION}\ndeno ${Deno.version.deno}\nv8 ${Deno.version.v8}\n`;
}
