/**
 * Starts the real program as a process of its own and waits until it says that it listens.
 *
 * @module
 */
import { join } from "node:path";
import { parse } from "yaml";
import { DEADLINE, withDeadline } from "./deadline.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const CHECKOUT: ProgramFiles = { runtime: Deno.execPath(), root: ROOT };
const ACCESS_LOG = "access.jsonl";

/** What runs, so that a test run that is cut short leaves nothing behind. */
const running = new Set<Deno.ChildProcess>();
globalThis.addEventListener("unload", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** How to start the program. */
export interface SluiceOptions {
  /**
   * The config file; with a function, made from the absolute path of the temporary folder it will stand in. Without
   * it the program runs from flags alone.
   */
  readonly config?: string | ((directory: string) => string);
  /** Further files, by path relative to the config. */
  readonly files?: Readonly<Record<string, string>>;
  /** Plugin files, by path relative to the folder `plugins` beside the config. */
  readonly plugins?: Readonly<Record<string, string>>;
  /** A plugin folder that exists already; only without `config`. */
  readonly pluginDirectory?: string;
  /** `--upstream`; only without `config`. */
  readonly upstream?: string;
  /** `--listen`; only without `config`. Default `127.0.0.1:0`. */
  readonly listen?: string;
  /** Further arguments. */
  readonly args?: readonly string[];
  /** `--threads`; `null`: what the config says. Default 1, because most tests ask for one answer at a time. */
  readonly threads?: number | null;
  /** Deno's rights of the program, as flags. Default: all of them. */
  readonly rights?: readonly string[];
  /** Environment variables of the program, beside those of the test. */
  readonly env?: Readonly<Record<string, string>>;
  /** How a shell is to start it, as `exec "$@"`: with limits, or with other outputs. Default: without a shell. */
  readonly shell?: string;
  /** What is run. Default: the program of this checkout, by the runtime of the test. */
  readonly program?: ProgramFiles;
  /** How long it may take until it listens, in milliseconds. Default 90,000. */
  readonly startTimeout?: number;
}

/** A program that can be run. */
export interface ProgramFiles {
  /** The runtime. */
  readonly runtime: string;
  /** The folder of `main.ts`, with a slash at its end. */
  readonly root: string;
}

/** A line of the access log. */
export type AccessLine = Readonly<Record<string, unknown>>;

/** The program could not be started. */
export class SluiceStartError extends Error {
  override readonly name: string = "SluiceStartError";
  readonly code: number;
  readonly output: string;

  constructor(code: number, output: string) {
    super(`Sluice ended with code ${code} before it listened:\n${output}`);
    this.code = code;
    this.output = output;
  }
}

/** What a run of the program to its end gave. */
export interface SluiceResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A listener as the program announced it. */
interface Listening {
  readonly name: string;
  readonly port: number;
  readonly path: string;
}

/** A running program. Killed, and its folder removed, when it is disposed of. */
export class Sluice implements AsyncDisposable {
  /** The temporary folder with config, plugins and access log. */
  readonly directory: string;
  readonly pid: number;
  /** Resolves with the exit code when the process has ended. */
  readonly exited: Promise<number>;
  readonly #child: Deno.ChildProcess;
  readonly #output: Output;
  readonly #listening: readonly Listening[];
  readonly #accessLog: string;
  #over = false;

  /** @internal */
  constructor(
    child: Deno.ChildProcess,
    directory: string,
    output: Output,
    listening: readonly Listening[],
    exited: Promise<number>,
  ) {
    this.#child = child;
    this.#output = output;
    this.#listening = listening;
    this.directory = directory;
    this.pid = child.pid;
    this.exited = exited;
    exited.then(() => this.#over = true);
    this.#accessLog = join(directory, ACCESS_LOG);
  }

  /**
   * The port of a listener.
   *
   * @param name Its name in the config; default: the first that was announced.
   */
  port(name?: string): number {
    const found = this.#listening.find((one) =>
      one.port > 0 && (name === undefined || one.name === name)
    );
    if (found === undefined) throw new Error(`No TCP listener ${name ?? ""}:\n${this.stderr()}`);
    return found.port;
  }

  /** `http://127.0.0.1:port` of the first listener. */
  get url(): string {
    return `http://127.0.0.1:${this.port()}`;
  }

  /** What the program has written to stderr so far. */
  stderr(): string {
    return this.#output.stderr;
  }

  /** What the program has written to stdout so far. */
  stdout(): string {
    return this.#output.stdout;
  }

  /** Resolves with the match as soon as `pattern` stands in what the program writes. */
  async waitForOutput(pattern: RegExp, ms: number = DEADLINE): Promise<RegExpExecArray> {
    let found: RegExpExecArray | null = null;
    await this.#output.until(() => (found = pattern.exec(this.#output.all)) !== null, {
      ms,
      what: `${pattern} in the output`,
    });
    return found!;
  }

  /**
   * The access log so far, one object per line. Lines are written at most a second late, and all of them by the time
   * the program has ended.
   */
  accessLog(): AccessLine[] {
    let text: string;
    try {
      text = Deno.readTextFileSync(this.#accessLog);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
    // While the program runs, the last line may be seen half written; afterwards it must be whole.
    const end = this.#over ? text.length : text.lastIndexOf("\n") + 1;
    return text.slice(0, end).split("\n").filter((line) => line !== "").map((line) =>
      JSON.parse(line)
    );
  }

  /** Waits until the access log has `count` lines, and returns them all. */
  async waitForAccessLog(count: number, ms: number = DEADLINE): Promise<AccessLine[]> {
    const end = Date.now() + ms;
    for (;;) {
      const lines = this.accessLog();
      if (lines.length >= count) return lines;
      if (Date.now() > end) {
        throw new Error(`Expected ${count} lines in the access log, found ${lines.length}`);
      }
      // The log is a file: there is no event to wait for.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Resident memory of the process in bytes. */
  rss(): number {
    const status = Deno.readTextFileSync(`/proc/${this.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024;
  }

  /** Sends a signal; harmless when the process has ended. */
  signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch { /* It has ended. */ }
  }

  /** Sends SIGTERM and returns the exit code. Throws, and kills, when it takes longer than `ms`. */
  async stop(ms: number = DEADLINE): Promise<number> {
    this.signal("SIGTERM");
    try {
      return await withDeadline(this.exited, ms, () => `the end after SIGTERM:\n${this.stderr()}`);
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /** Kills the process at once. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#killSuccessors();
    await this.#output.closed;
    await Deno.remove(this.directory, { recursive: true });
  }

  /** Kills who has taken over from it, or was about to, when a test has failed: they have its outputs, and would keep them open. */
  #killSuccessors(): void {
    for (const [, pid] of this.stderr().matchAll(/Process (\d+) is to take over/g)) {
      try {
        // Its number may be that of another process by now.
        const command = Deno.readTextFileSync(`/proc/${pid}/cmdline`);
        if (command.includes(this.directory)) Deno.kill(Number(pid), "SIGKILL");
      } catch { /* It has ended, as it should. */ }
    }
  }
}

/**
 * Starts the program and waits until it says that all its listeners are ready.
 *
 * @throws {SluiceStartError} If it ends before.
 */
export async function startSluice(options: SluiceOptions = {}): Promise<Sluice> {
  const { directory, args, names } = await prepare(options);
  const program = options.program ?? CHECKOUT;
  const command = [
    ...programArgs(options.rights, program),
    "run",
    ...args,
    ...(options.args ?? []),
  ];
  const child = new Deno.Command(options.shell === undefined ? program.runtime : "sh", {
    args: options.shell === undefined
      ? command
      : ["-c", options.shell, "sh", program.runtime, ...command],
    cwd: program.root,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: directory, ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = new Output(child);
  running.add(child);
  const exited = child.status.then(({ code }) => {
    running.delete(child);
    return code;
  });
  let code: number | undefined;
  exited.then((value) => {
    code = value;
    output.wake();
  });
  let listening: Listening[] | null = null;
  try {
    await output.until(() => {
      listening = announced(output.all, names);
      return code !== undefined || listening !== null;
    }, { ms: options.startTimeout ?? 90_000, what: "the program to be ready" });
    if (listening === null) {
      await output.closed;
      throw new SluiceStartError(code!, output.all);
    }
  } catch (error) {
    if (code === undefined) child.kill("SIGKILL");
    await exited;
    await output.closed;
    await Deno.remove(directory, { recursive: true });
    throw error;
  }
  return new Sluice(child, directory, output, listening, exited);
}

/** Runs a verb of the program to its end, in a folder with the files of `options`. */
export async function runSluice(
  args: readonly string[] | ((directory: string) => readonly string[]),
  options:
    & Pick<SluiceOptions, "config" | "files" | "plugins" | "env" | "rights" | "program">
    & { ms?: number } = {},
): Promise<SluiceResult> {
  const { directory } = await prepare(options);
  const program = options.program ?? CHECKOUT;
  const child = new Deno.Command(program.runtime, {
    args: [
      ...programArgs(options.rights, program),
      ...(typeof args === "function" ? args(directory) : args),
    ],
    cwd: directory,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: directory, ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = new Output(child);
  try {
    const { code } = await withDeadline(child.status, options.ms ?? 120_000, () => {
      child.kill("SIGKILL");
      return `the end of ${args}:\n${output.all}`;
    });
    await output.closed;
    return { code, stdout: output.stdout, stderr: output.stderr };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function programArgs(
  rights: readonly string[] = ["-A"],
  { root }: ProgramFiles = CHECKOUT,
): string[] {
  return [
    "run",
    ...rights,
    "--no-prompt",
    "--config",
    join(root, "deno.json"),
    join(root, "main.ts"),
  ];
}

async function prepare(options: SluiceOptions) {
  const directory = await Deno.makeTempDir({ prefix: "sluice-" });
  const write = async (path: string, text: string) => {
    const file = join(directory, path);
    await Deno.mkdir(join(file, ".."), { recursive: true });
    await Deno.writeTextFile(file, text);
  };
  for (const [path, text] of Object.entries(options.files ?? {})) await write(path, text);
  for (const [path, text] of Object.entries(options.plugins ?? {})) {
    await write(join("plugins", path), text);
  }
  const args: string[] = [];
  let names: readonly string[] = [];
  if (options.config !== undefined) {
    const text = typeof options.config === "function" ? options.config(directory) : options.config;
    await write("sluice.yaml", text);
    args.push("-c", join(directory, "sluice.yaml"));
    names = listenerNames(text);
  } else {
    args.push("--listen", options.listen ?? "127.0.0.1:0");
    const plugins = options.pluginDirectory ??
      (options.plugins === undefined ? undefined : join(directory, "plugins"));
    if (plugins !== undefined) args.push("--plugins", plugins);
    if (options.upstream !== undefined) args.push("--upstream", options.upstream);
  }
  if (options.threads !== null && !(options.args ?? []).includes("--threads")) {
    args.push("--threads", String(options.threads ?? 1));
  }
  if (!(options.args ?? []).includes("--access-log")) {
    args.push("--access-log", join(directory, ACCESS_LOG));
  }
  return { directory, args, names };
}

function listenerNames(text: string): readonly string[] {
  try {
    const { listeners } = parse(text) as { listeners: { name?: string; address: string }[] };
    return listeners.map(({ name, address }) => name ?? address);
  } catch {
    // The program is about to refuse it.
    return [];
  }
}

/** Reads the line that says where the program listens: addresses in the order of the config. */
function announced(text: string, names: readonly string[]): Listening[] | null {
  const line = /\bready on (.+?) \(.*\n/.exec(text);
  if (line === null) return null;
  return line[1]!.split(", ").map((address, index): Listening => {
    const name = names[index] ?? address;
    if (address.startsWith("unix:")) return { name, port: 0, path: address.slice(5) };
    return { name, port: Number(address.slice(address.lastIndexOf(":") + 1)), path: "" };
  });
}

/** Both outputs of a process, kept as text; bounded only by what a test makes it say. */
class Output {
  stdout = "";
  stderr = "";
  all = "";
  /** Resolves when both outputs have ended. */
  readonly closed: Promise<unknown>;
  #wake: (() => void)[] = [];

  constructor(child: Deno.ChildProcess) {
    this.closed = Promise.all([
      this.#collect(child.stdout, "stdout"),
      this.#collect(child.stderr, "stderr"),
    ]);
  }

  wake(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async until(done: () => boolean, { ms, what }: { ms: number; what: string }): Promise<void> {
    const end = Date.now() + ms;
    while (!done()) {
      const more = new Promise<void>((resolve) => this.#wake.push(resolve));
      await withDeadline(more, end - Date.now(), () => `${what}, got:\n${this.all}`);
    }
  }

  async #collect(stream: ReadableStream<Uint8Array>, to: "stdout" | "stderr"): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this[to] += text;
      this.all += text;
      this.wake();
    }
  }
}
