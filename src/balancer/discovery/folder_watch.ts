/**
 * Changes in a folder, by the name of the file that has changed.
 *
 * @module
 */

/** A running watch. */
export interface FolderWatch {
  /** Whether it still watches. It ends by itself when the folder goes away. */
  readonly open: boolean;
  close(): void;
}

/**
 * Watches a folder, not what is below it.
 *
 * @param onChange Called with the name of a file that was made, changed or removed; often more than once.
 * @returns A watch that is not open where the system refuses.
 */
export function watchFolder(folder: string, onChange: (name: string) => void): FolderWatch {
  let watcher: Deno.FsWatcher;
  try {
    watcher = Deno.watchFs(folder, { recursive: false });
  } catch {
    return { open: false, close: () => {} };
  }
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    try {
      watcher.close();
    } catch {
      // Leaving the loop over its events has closed it.
    }
  };
  const follow = async () => {
    for await (const { kind, paths } of watcher) {
      if (kind === "access") continue;
      for (const path of paths) {
        // The watch hangs on the folder that was there; another may have taken its name.
        if (kind === "remove" && path === folder) return;
        onChange(path.slice(path.lastIndexOf("/") + 1));
      }
    }
  };
  // However it ends, reading the file at regular times remains.
  follow().then(close, close);
  return {
    get open() {
      return open;
    },
    close,
  };
}
