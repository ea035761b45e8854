/**
 * Finds plugins, and learns what they are before anything is granted to them.
 *
 * @module
 */
import { settleRights } from "./permissions.ts";
import { PluginLoadError } from "./load_error.ts";
import { probe } from "./probe.ts";
import type { PluginManifest, PluginSpec } from "./spec.ts";

/** A plugin that lies in the plugin directory. */
export interface FoundPlugin {
  /** Name of the file without ending, or of the folder. */
  readonly name: string;
  /** Absolute path of the module. */
  readonly file: string;
  /** Absolute path of the folder; for a plugin that is one file, that file. */
  readonly root: string;
}

/** Entries that one plugin folder may hold; it is searched for links that lead out of it. */
const MAX_ENTRIES = 10_000;
/** Plugins that are looked at at once. */
const MAX_PROBES = 4;

/**
 * Finds the plugins of a directory: files `name.ts` and `name.js`, and folders with a `mod.ts` or `mod.js`, in
 * the order of their names. Tests (`*_test.ts`) and names that begin with `_` or `.` are passed over.
 *
 * @throws {PluginLoadError} If there is no such directory, a link leads out of it, or two have one name.
 */
export async function findPlugins(directory: string): Promise<FoundPlugin[]> {
  let base: string;
  const entries: Deno.DirEntry[] = [];
  try {
    base = await Deno.realPath(directory);
    for await (const entry of Deno.readDir(base)) entries.push(entry);
  } catch (error) {
    throw new PluginLoadError(`cannot read the plugin directory: ${reason(error)}`, {
      file: directory,
      cause: error,
    });
  }
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  const found: FoundPlugin[] = [];
  for (const entry of entries) {
    if (/^[._]/.test(entry.name) || /_test\.[jt]s$/.test(entry.name)) continue;
    const path = `${base}/${entry.name}`;
    const plugin = await findOne(entry, path, base);
    if (plugin === null) continue;
    const twin = found.find((other) => other.name === plugin.name);
    if (twin !== undefined) {
      throw new PluginLoadError(`two plugins are named "${plugin.name}"`, {
        file: path,
        remedy: `Rename it or ${twin.root}.`,
      });
    }
    found.push(plugin);
  }
  return found;
}

async function findOne(
  entry: Deno.DirEntry,
  path: string,
  base: string,
): Promise<FoundPlugin | null> {
  const script = /^(.+)\.[jt]s$/.exec(entry.name);
  if (script !== null && entry.name.endsWith(".d.ts")) return null;
  const real = await realPathWithin(path, base, entry.name);
  if (real === null) return null;
  const info = await Deno.stat(real);
  if (info.isFile) return script === null ? null : { name: script[1]!, file: real, root: real };
  if (!info.isDirectory) return null;
  for (const main of ["mod.ts", "mod.js"]) {
    try {
      const file = await Deno.realPath(`${real}/${main}`);
      if (file !== `${real}/${main}` && !file.startsWith(`${real}/`)) {
        throw new PluginLoadError(
          `"${entry.name}/${main}" is a link that leads out of the plugin`,
          {
            file: `${path}/${main}`,
            remedy: "Copy the file into the folder of the plugin.",
          },
        );
      }
      return { name: entry.name, file, root: real };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return null;
}

/** The real path, which must not leave `base`; `null` for a link that leads nowhere. */
async function realPathWithin(path: string, base: string, name: string): Promise<string | null> {
  let real: string;
  try {
    real = await Deno.realPath(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  if (real.startsWith(`${base}/`)) return real;
  throw new PluginLoadError(
    `"${name}" is a link that leads out of the plugin directory, to ${real}`,
    {
      file: path,
      remedy: "Copy the plugin into the directory, or name its real path in the configuration.",
    },
  );
}

/**
 * Brings the paths of a plugin into their real form, and makes sure that no link in its folder leads out.
 *
 * @throws {PluginLoadError} If one does, or the plugin is not there.
 */
export async function checkPaths(spec: PluginSpec): Promise<PluginSpec> {
  let file: string;
  let root: string;
  try {
    file = await Deno.realPath(spec.file);
    root = await Deno.realPath(spec.root);
  } catch (error) {
    throw new PluginLoadError(`cannot read plugin "${spec.name}": ${reason(error)}`, {
      file: spec.file,
      cause: error,
    });
  }
  if (file !== root) {
    if (!file.startsWith(`${root}/`)) {
      throw new PluginLoadError(
        `plugin "${spec.name}": its module lies outside of its folder ${root}`,
        {
          file: spec.file,
        },
      );
    }
    await checkLinks(root, root, { left: MAX_ENTRIES });
  }
  return file === spec.file && root === spec.root ? spec : { ...spec, file, root };
}

async function checkLinks(folder: string, root: string, budget: { left: number }): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    if (--budget.left < 0) {
      throw new PluginLoadError(`the folder of the plugin holds more than ${MAX_ENTRIES} entries`, {
        file: root,
        remedy: "Keep only what the plugin needs in its folder.",
      });
    }
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) await checkLinks(path, root, budget);
    if (!entry.isSymlink) continue;
    let real: string;
    try {
      real = await Deno.realPath(path);
    } catch {
      // It leads nowhere, so nothing can be read through it. Where it points to may come to be later.
      real = "nowhere";
    }
    if (real === root || real.startsWith(`${root}/`)) continue;
    throw new PluginLoadError(`a link in the folder of the plugin leads out of it, to ${real}`, {
      file: path,
      remedy: "Copy what it points to into the folder, or remove it.",
    });
  }
}

/**
 * Loads a plugin with no right but to read its own files, and says what it is and asks for.
 *
 * @throws {PluginLoadError} If it cannot be loaded or is not a plugin.
 */
export async function inspectPlugin(spec: PluginSpec): Promise<PluginManifest> {
  return await probe(await checkPaths(spec));
}

/** What {@linkcode inspectPlugins} found out about one plugin. */
export type Inspection =
  | { readonly spec: PluginSpec; readonly manifest: PluginManifest; readonly error: null }
  | {
    readonly spec: PluginSpec;
    readonly manifest: PluginManifest | null;
    readonly error: PluginLoadError;
  };

/**
 * Inspects plugins, a few at a time, and compares what they ask for with what is granted. For `check`.
 *
 * @returns One inspection for each plugin, in order. Never throws for a plugin's fault.
 */
export async function inspectPlugins(specs: readonly PluginSpec[]): Promise<Inspection[]> {
  const results: Inspection[] = new Array(specs.length);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < specs.length; i = next++) results[i] = await inspectOne(specs[i]!);
  };
  await Promise.all(Array.from({ length: Math.min(MAX_PROBES, specs.length) }, work));
  return results;
}

async function inspectOne(spec: PluginSpec): Promise<Inspection> {
  let manifest: PluginManifest | null = null;
  try {
    manifest = await inspectPlugin(spec);
    settleRights(manifest, spec);
    return { spec, manifest, error: null };
  } catch (error) {
    const known = error instanceof PluginLoadError
      ? error
      : new PluginLoadError(reason(error), { file: spec.file, cause: error });
    return { spec, manifest, error: known };
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
