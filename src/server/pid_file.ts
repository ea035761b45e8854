/**
 * The file with the id of the process, for those who send it signals.
 *
 * @module
 */
import { literal, type Logger } from "../observe/log.ts";

/** A pid file of this process. */
export class PidFile {
  readonly #path: string;
  readonly #log: Logger;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Writes it, in place of what a process before this one has left there: readers never see half of it. */
  write(): void {
    const draft = `${this.#path}.${Deno.pid}`;
    try {
      Deno.writeTextFileSync(draft, `${Deno.pid}\n`, { mode: 0o644 });
      Deno.renameSync(draft, this.#path);
    } catch (error) {
      this.#log.error(`The pid file cannot be written: ${literal(messageOf(error))}`);
    }
  }

  /** Removes it, unless it is that of another process by now. */
  remove(): void {
    try {
      if (Deno.readTextFileSync(this.#path).trim() === String(Deno.pid)) {
        Deno.removeSync(this.#path);
      }
    } catch {
      // It is not there, or not ours.
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
