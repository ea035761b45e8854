/**
 * What the config needs to know of the plugins in a folder.
 *
 * @module
 */

/** A plugin that was found, not loaded. */
export interface FoundPlugin {
  readonly name: string;
  /** Absolute path of the module. */
  readonly file: string;
  /** Absolute path of the folder whose files it may read; for a plugin that is one file, that file. */
  readonly root: string;
}

/**
 * Lists the plugins of a folder.
 *
 * @throws If the folder cannot be read, or holds something that looks like a plugin and is none.
 */
export type FindPlugins = (
  directory: string,
) => readonly FoundPlugin[] | Promise<readonly FoundPlugin[]>;
