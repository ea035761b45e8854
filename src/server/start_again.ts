/**
 * Starting this program a second time.
 *
 * @module
 */

/** How to start it. */
export interface StartAgainOptions {
  /** Environment variables, beside those of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** Where its output goes: where that of this process goes, or to this process. */
  readonly output: "inherit" | "piped";
  /** Whether it has a session of its own. Default `false`. */
  readonly detached?: boolean;
}

/** Where this program was started: its command line may name files from there. */
const STARTED_IN = Deno.cwd();

/** Starts this program again, as it was started: the same command line, and whatever its files are now. Linux only. */
export function startAgain(
  { env, output, detached = false }: StartAgainOptions,
): Deno.ChildProcess {
  const [, ...args] = Deno.readTextFileSync("/proc/self/cmdline").replace(/\0$/, "").split("\0");
  return new Deno.Command(programFile(), {
    args,
    cwd: isThere(STARTED_IN) ? STARTED_IN : "/",
    env,
    detached,
    stdin: "null",
    stdout: output,
    stderr: output,
  }).spawn();
}

/** A folder may be removed while somebody works in it; a daemon does so for long. */
function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** The file of the runtime. The one that runs may have been replaced since. */
function programFile(): string {
  return Deno.execPath().replace(/ \(deleted\)$/, "");
}
