/**
 * The file with the id of the process, for those who send it signals.
 *
 * @module
 */
import { dirname } from "node:path";
import type { PidFileConfig } from "../config/types.ts";
import { literal, type Logger } from "../observe/log.ts";
import { ownFolder } from "./own_folder.ts";

/** A pid file of this process. */
export class PidFile {
  readonly #path: string;
  readonly #named: boolean;
  readonly #log: Logger;

  constructor({ path, named }: PidFileConfig, log: Logger) {
    this.#path = path;
    this.#named = named;
    this.#log = log;
  }

  /** Writes it, in place of what a process before this one has left there: readers never see half of it. */
  write(): void {
    try {
      if (!this.#named) ownFolder(dirname(this.#path));
      this.#replace();
    } catch (error) {
      this.#log.error(`The pid file cannot be written: ${literal(messageOf(error))}`);
    }
  }

  /** Removes it, unless it is that of another process by now. */
  remove(): void {
    try {
      if (Deno.readTextFileSync(this.#path).trim() !== String(Deno.pid)) return;
      try {
        Deno.removeSync(this.#path);
      } catch (error) {
        if (!isDenied(error)) throw error;
        // The file is ours, its folder is not: nobody is told to signal a process that is none of ours any more.
        Deno.truncateSync(this.#path);
      }
    } catch {
      // It is not there, or not ours.
    }
  }

  #replace(): void {
    const text = `${Deno.pid}\n`;
    const draft = `${this.#path}.${Deno.pid}`;
    try {
      Deno.writeTextFileSync(draft, text, { mode: 0o644 });
    } catch (error) {
      if (!isDenied(error)) {
        // A full disk still has room for an empty one.
        removeQuietly(draft);
        throw error;
      }
      // A file in a folder of root, given to the user that this process has become.
      Deno.writeTextFileSync(this.#path, text, { create: false });
      return;
    }
    Deno.renameSync(draft, this.#path);
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It is not there.
  }
}

function isDenied(error: unknown): boolean {
  return error instanceof Deno.errors.PermissionDenied;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
