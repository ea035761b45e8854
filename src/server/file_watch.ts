/**
 * Watching the files that a config consists of, to reload when they change.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import type { Config } from "../config/types.ts";

/** Milliseconds of quiet after a change: editors write in pieces. The reload begins after it. */
const QUIET = 100;
/** Milliseconds that the runtime gets to let go of a watch before another takes its name. */
const RENEWAL = 200;

/** Watches the config file and the plugins of a config. */
export class FileWatch {
  readonly #file: string | null;
  readonly #onChange: () => void;
  /** By what they watch. */
  readonly #watches = new Map<string, Deno.FsWatcher>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** What is to be watched in place of another folder, by key. */
  readonly #late = new Map<string, () => void>();
  #renewal: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param file The config file; `null` if there is none.
   * @param onChange Called when something has changed, and nothing more does.
   */
  constructor(file: string | null, onChange: () => void) {
    this.#file = file;
    this.#onChange = onChange;
  }

  /**
   * Watches what a config consists of, if it asks for that, and nothing else any more. What was watched before goes on
   * being watched without a gap: files may change while a reload that has read them already is still under way.
   */
  follow({ server, pluginDirectory }: Config): void {
    if (!server.watch) return this.close();
    const wanted = new Map<string, () => void>();
    const want = (folder: string, name: string | null) => {
      const key = `${folder}/${name ?? ""} ${identity(folder)}`;
      wanted.set(key, () => this.#watch(key, folder, name));
    };
    // Its folder, because editors put another file in its place.
    if (this.#file !== null) want(dirname(this.#file), basename(this.#file));
    if (pluginDirectory !== null) want(pluginDirectory, null);
    for (const key of this.#late.keys()) if (!wanted.has(key)) this.#late.delete(key);
    const left = new Set<string>();
    for (const [key, watch] of this.#watches) {
      if (wanted.has(key)) continue;
      left.add(placeOf(key));
      this.#watches.delete(key);
      watch.close();
    }
    for (const [key, watch] of wanted) {
      if (this.#watches.has(key) || this.#late.has(key)) continue;
      if (left.has(placeOf(key))) this.#watchLater(key, watch);
      else watch();
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    this.#late.clear();
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  /**
   * Watches a folder that has taken the place of another a little later, and asks for a reload then, in case something
   * has changed meanwhile: the runtime lets watches go by name and in its own time, and would take the new one with
   * the old.
   */
  #watchLater(key: string, watch: () => void): void {
    this.#late.set(key, watch);
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => {
      for (const watch of this.#late.values()) watch();
      this.#late.clear();
      this.#onChange();
    }, RENEWAL);
  }

  #watch(key: string, folder: string, name: string | null): void {
    let watcher: Deno.FsWatcher;
    try {
      watcher = Deno.watchFs(folder, { recursive: name === null });
    } catch {
      // It may come; a reload that somebody asks for looks again.
      return;
    }
    this.#watches.set(key, watcher);
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

/** What a key says without the identity at its end. */
function placeOf(key: string): string {
  return key.slice(0, key.lastIndexOf(" "));
}

/** Tells a folder from another that has taken its name: the watch would stay with the first. */
function identity(folder: string): string {
  try {
    const { dev, ino } = Deno.statSync(folder);
    return `${dev}:${ino}`;
  } catch {
    return "";
  }
}
