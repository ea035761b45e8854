/**
 * What a Dockerfile makes, in a folder: for tests where there is no container engine. It has exactly the paths that
 * are copied, and the libraries that its commands install, offline.
 *
 * @module
 */
import { join } from "node:path";
import { cacheFolder, copy, link, run } from "./shared_program.ts";

const CHECKOUT = new URL("../../", import.meta.url).pathname;
/** A user who owns nothing of it. */
const NOBODY = "65534";

/** An image of the program. Removed when it is disposed of. */
export class Image implements AsyncDisposable {
  /** Stands for the root of its file system. */
  readonly directory: string;
  /** Where commands run. */
  #workdir = "";
  /** Whether what runs in it runs as a user who may only read it. */
  #asUser = false;
  #entry: readonly string[] = [];
  #command: readonly string[] = [];

  private constructor(directory: string) {
    this.directory = directory;
  }

  /**
   * Makes what a Dockerfile of this checkout says.
   *
   * @param path Relative to the checkout.
   */
  static async build(path: string): Promise<Image> {
    const directory = await Deno.makeTempDir({ prefix: "sluice-image-" });
    const image = new Image(directory);
    try {
      await Deno.mkdir(join(directory, "bin"));
      await Deno.mkdir(image.#cache);
      await link(Deno.execPath(), join(directory, "bin/deno"));
      await link(join(await cacheFolder(), "npm"), join(image.#cache, "npm"));
      const text = await Deno.readTextFile(join(CHECKOUT, path));
      for (const line of text.split("\n")) await image.#do(line);
      await run("chmod", ["-R", "a+rX,go-w", directory]);
      return image;
    } catch (error) {
      await image[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The command by which a container starts, with other arguments for the program if any are given. */
  entry(args: readonly string[] = this.#command): readonly string[] {
    return [...this.#entry, ...args];
  }

  /**
   * Something that is to run in it.
   *
   * @param through A program that starts it, and its arguments.
   */
  command(
    command: readonly string[],
    env: Readonly<Record<string, string>> = {},
    through: readonly string[] = [],
  ): Deno.Command {
    const user = this.#asUser && Deno.uid() === 0
      ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"]
      : [];
    const [program, ...args] = [...through, ...user, ...command];
    // Libraries are kept under the name of the registry that they came from.
    const registry = Deno.env.get("NPM_CONFIG_REGISTRY");
    return new Deno.Command(program!, {
      args,
      cwd: this.#workdir,
      clearEnv: true,
      env: {
        PATH: `${join(this.directory, "bin")}:/usr/bin:/bin:/usr/sbin:/sbin`,
        DENO_DIR: this.#cache,
        NO_COLOR: "1",
        ...(registry === undefined ? {} : { NPM_CONFIG_REGISTRY: registry }),
        ...env,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.directory, { recursive: true });
  }

  get #cache(): string {
    return join(this.directory, "deno-dir");
  }

  /** Follows one line; those that say something about the image alone change nothing here. */
  async #do(line: string): Promise<void> {
    const [, word, rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    switch (word) {
      case "WORKDIR":
        this.#workdir = join(this.directory, rest);
        await Deno.mkdir(this.#workdir, { recursive: true });
        break;
      case "COPY": {
        const paths = rest.split(" ");
        const to = join(this.#workdir, paths.pop()!);
        for (const path of paths) {
          const target = paths.length > 1 ? join(to, path) : to;
          await copy(join(CHECKOUT, path), target);
        }
        break;
      }
      case "RUN": {
        const [program, ...args] = `${rest} --cached-only`.split(" ");
        const { success, stderr } = await this.command([program!, ...args]).output();
        if (!success) throw new Error(`${line}: ${new TextDecoder().decode(stderr)}`);
        break;
      }
      case "USER":
        this.#asUser = true;
        break;
      case "ENTRYPOINT":
        this.#entry = JSON.parse(rest);
        break;
      case "CMD":
        this.#command = JSON.parse(rest);
        break;
      case undefined:
      case "FROM":
      case "EXPOSE":
      case "STOPSIGNAL":
        break;
      default:
        throw new Error(`The test does not know what ${word} does: ${line}`);
    }
  }
}
