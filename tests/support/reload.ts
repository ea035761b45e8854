/**
 * Reloading a running program as an operator does: write the files, send the signal, wait for the log.
 *
 * @module
 */
import { join } from "node:path";
import { eventually } from "./deadline.ts";
import type { Sluice } from "./sluice.ts";

const OVER = /server: (?:Reloaded|The new config is refused)/g;

/** Writes another config for a program that was started with one. */
export function writeConfig(sluice: Sluice, text: string): void {
  Deno.writeTextFileSync(join(sluice.directory, "sluice.yaml"), text);
}

/** Writes a plugin file of a program that was started with plugins. */
export function writePlugin(sluice: Sluice, path: string, text: string): void {
  Deno.writeTextFileSync(join(sluice.directory, "plugins", path), text);
}

/**
 * Sends SIGHUP and waits until the reload is over.
 *
 * @param text Another config to write before.
 * @param pid Who gets the signal. Default: the process that the test has started.
 * @returns Whether the new config serves.
 */
export async function reload(
  sluice: Sluice,
  text?: string,
  pid: number = sluice.pid,
): Promise<boolean> {
  const before = [...sluice.stderr().matchAll(OVER)].length;
  if (text !== undefined) writeConfig(sluice, text);
  Deno.kill(pid, "SIGHUP");
  let last: string | undefined;
  await eventually(
    () => {
      const all = [...sluice.stderr().matchAll(OVER)];
      last = all.at(-1)?.[0];
      return all.length > before;
    },
    `the end of the reload:\n${sluice.stderr()}`,
    60_000,
  );
  return last!.endsWith("Reloaded");
}
