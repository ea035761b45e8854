/**
 * The program where every user may read it: the checkout and the runtime's cache may be root's alone.
 *
 * @module
 */
import { dirname, join } from "node:path";
import type { ProgramFiles } from "./sluice.ts";

const CHECKOUT = new URL("../../", import.meta.url).pathname;

let made: Promise<SharedProgram> | undefined;

/** Makes the copy, once for each file of tests; it is removed at the end. */
export function sharedProgram(): Promise<SharedProgram> {
  return made ??= SharedProgram.make();
}

/** A copy of the program, the runtime and the libraries. */
export class SharedProgram implements ProgramFiles {
  /** Everything is in it. */
  readonly directory: string;
  readonly runtime: string;
  readonly root: string;
  /** What the program needs in its environment. */
  readonly env: Readonly<Record<string, string>>;

  private constructor(directory: string) {
    this.directory = directory;
    this.runtime = join(directory, "deno");
    this.root = `${directory}/`;
    this.env = { DENO_DIR: this.cache, HOME: directory };
  }

  /** The folder of the libraries. */
  get cache(): string {
    return join(this.directory, "cache");
  }

  static async make(): Promise<SharedProgram> {
    const directory = await Deno.makeTempDir({ prefix: "sluice-shared-" });
    const shared = new SharedProgram(directory);
    await Deno.mkdir(shared.cache);
    await link(Deno.execPath(), shared.runtime);
    await link(join(await cacheFolder(), "npm"), join(shared.cache, "npm"));
    for (const name of ["main.ts", "deno.json", "deno.lock", "src"]) {
      await copy(join(CHECKOUT, name), join(directory, name));
    }
    await run("chmod", ["-R", "a+rX", directory]);
    // Whoever runs it keeps what the runtime has made of the sources: made anew, it takes seconds.
    await run("chmod", ["a+rwx", shared.cache]);
    globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));
    return shared;
  }
}

/** Large and never changed: another name for the same file will do, where the file system has one. */
export async function link(from: string, to: string): Promise<void> {
  try {
    await run("cp", ["-rl", from, to]);
  } catch {
    await Deno.remove(to, { recursive: true }).catch(() => {});
    await copy(from, to);
  }
}

/** Copies a file or a folder. */
export async function copy(from: string, to: string): Promise<void> {
  await run("cp", ["-rL", from, to]);
}

/** Where the runtime keeps the libraries. */
export async function cacheFolder(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout));
  return dirname(npmCache);
}

/** Runs a program to its end, which has to be a good one. */
export async function run(program: string, args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args: [...args] }).output();
  if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
}
