/**
 * Where log lines end up: a file that is appended to, standard output, standard error.
 *
 * @module
 */
import { fstatSync } from "node:fs";

/** Takes bytes that end in a newline. */
export interface LineSink {
  /** Name for messages. */
  readonly name: string;
  /** Most bytes of one write that stay together when several workers write; `0`: any number. */
  readonly atomicBytes: number;
  /** Writes some of the bytes, at least one; returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Opens the file again, after it was moved away. Does nothing where there is none. */
  reopen(): Promise<void>;
  close(): void;
}

/** A write of up to this many bytes to a pipe is not mixed with others (POSIX PIPE_BUF on Linux). */
const PIPE_BUF = 4096;

/** Milliseconds between two looks at whether a file is still there. */
const LOOK_INTERVAL = 1_000;

/**
 * Opens a file for appending. Each write goes to the end of the file as one piece, whoever else writes to it. A file
 * that is not there any more is begun anew: what is written to one that was removed, nobody ever reads. Where another
 * is there in its place, that is written to.
 *
 * @param onGone Called when one was begun anew.
 * @throws {Error} If it cannot be opened.
 */
export function fileSink(path: string, onGone?: () => void): LineSink {
  const open = { append: true, create: true, mode: 0o640 } as const;
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, open);
  } catch (error) {
    throw new Error(
      `Cannot open the log ${JSON.stringify(path)}: ${
        error instanceof Deno.errors.NotFound
          ? "its folder does not exist"
          : error instanceof Error
          ? error.message
          : String(error)
      }`,
      { cause: error },
    );
  }
  let lookedAt = performance.now();
  const reopen = async () => {
    const next = await Deno.open(path, open);
    const old = file;
    file = next;
    old.close();
  };
  const look = async () => {
    lookedAt = performance.now();
    try {
      const [there, own] = await Promise.all([Deno.stat(path), file.stat()]);
      // Another thread has begun it anew, or whoever rotates logs has.
      if (there.ino !== own.ino || there.dev !== own.dev) await reopen();
      return;
    } catch (error) {
      // It may only be hidden; then there is nothing to do about it.
      if (!(error instanceof Deno.errors.NotFound)) return;
    }
    await reopen();
    onGone?.();
  };
  return {
    name: path,
    atomicBytes: 0,
    async write(bytes) {
      if (performance.now() - lookedAt > LOOK_INTERVAL) await look();
      return await file.write(bytes);
    },
    reopen,
    close: () => file.close(),
  };
}

/** Standard output, or standard error. They are never closed. */
export function standardSink(which: "stdout" | "stderr"): LineSink {
  const stream = which === "stdout" ? Deno.stdout : Deno.stderr;
  return {
    name: which,
    atomicBytes: isPipe(which === "stdout" ? 1 : 2) ? PIPE_BUF : 0,
    write: (bytes) => stream.write(bytes),
    reopen: () => Promise.resolve(),
    close: () => {},
  };
}

function isPipe(fd: number): boolean {
  try {
    return fstatSync(fd).isFIFO();
  } catch {
    // Whoever cannot find out had better assume it.
    return true;
  }
}
