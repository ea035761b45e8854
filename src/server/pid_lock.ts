/**
 * Whose pid file it is: the process that it names holds a lock on it for as long as it runs, so that one that was left
 * behind is told from one that is in use, whatever process has the number by now.
 *
 * @module
 */

/** A process that runs has this pid file. */
export class PidFileTakenError extends Error {
  override readonly name: string = "PidFileTakenError";
}

/** The lock on a pid file. */
export class PidLock {
  #file: Deno.FsFile | null = null;

  /**
   * Looks whether another process has the file; to be called before anything is started.
   *
   * @throws {PidFileTakenError} If one does.
   */
  static check(path: string): void {
    const file = open(path);
    if (file === null) return;
    try {
      if (tryLock(file)) return;
      const pid = Deno.readTextFileSync(path).trim();
      throw new PidFileTakenError(
        `${path} (server.pid_file) belongs to process ${pid}, which runs: stop it first, "sluice upgrade" it, ` +
          "or give this one a file of its own",
      );
    } finally {
      file.close();
    }
  }

  /** Holds the file that was written, until `release` or the end of the process. */
  hold(path: string): void {
    this.release();
    this.#file = open(path);
    if (this.#file !== null) tryLock(this.#file);
  }

  /** Lets go of it; harmless when that has been done. */
  release(): void {
    this.#file?.close();
    this.#file = null;
  }
}

function open(path: string): Deno.FsFile | null {
  try {
    return Deno.openSync(path, { read: true });
  } catch {
    // It is not there, or nobody may read it.
    return null;
  }
}

function tryLock(file: Deno.FsFile): boolean {
  try {
    return file.tryLockSync(true);
  } catch {
    // Not every file system has locks. Without them the last one that starts has the file.
    return true;
  }
}
