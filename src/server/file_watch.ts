/**
 * Watching the files that a config consists of, to reload when they change.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import type { Config } from "../config/types.ts";

/** Milliseconds of quiet after a change: editors write in pieces. */
const QUIET = 200;

/** Watches the config file and the plugins of a config. */
export class FileWatch {
  readonly #file: string | null;
  readonly #onChange: () => void;
  #watches: Deno.FsWatcher[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param file The config file; `null` if there is none.
   * @param onChange Called when something has changed, and nothing more does.
   */
  constructor(file: string | null, onChange: () => void) {
    this.#file = file;
    this.#onChange = onChange;
  }

  /** Watches what a config consists of, if it asks for that, and nothing else any more. */
  follow({ server, pluginDirectory }: Config): void {
    this.close();
    if (!server.watch) return;
    if (this.#file !== null) {
      // Its folder, because editors put another file in its place.
      this.#watch(dirname(this.#file), basename(this.#file));
    }
    if (pluginDirectory !== null) this.#watch(pluginDirectory, null);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  #watch(folder: string, name: string | null): void {
    let watcher: Deno.FsWatcher;
    try {
      watcher = Deno.watchFs(folder, { recursive: name === null });
    } catch {
      // It may come; a reload that somebody asks for looks again.
      return;
    }
    this.#watches.push(watcher);
    void (async () => {
      for await (const { kind, paths } of watcher) {
        if (kind === "access") continue;
        if (name === null || paths.some((path) => basename(path) === name)) this.#changed();
      }
    })();
  }

  #changed(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#onChange, QUIET);
  }
}
