/**
 * Starts sandboxes and waits for what they have to say of the plugin in them.
 *
 * @module
 */
import { reserveDescriptors } from "../observe/descriptors.ts";
import type { LoadOrder, SandboxMessage } from "./control.ts";
import { PluginLoadError, readFailure } from "./load_error.ts";
import { readManifest } from "./manifest.ts";
import { NO_RIGHTS, pluginDirectory, type Rights } from "./permissions.ts";
import { startProcessSandbox } from "./process_sandbox.ts";
import type { Sandbox, SandboxExit, SandboxOptions } from "./sandbox.ts";
import { DEFAULT_HEAP, type PluginManifest, type PluginSpec } from "./spec.ts";
import { startWorkerSandbox } from "./worker_sandbox.ts";

let directory: Promise<string> | null = null;
let nextSocket = 0;

/** The private directory for sockets, made when first needed. */
async function socketDirectory(): Promise<string> {
  const path = await Deno.makeTempDir({ prefix: "sluice-" });
  await Deno.chmod(path, 0o700);
  globalThis.addEventListener("unload", () => {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {
      // Somebody else cleaned up.
    }
  });
  return path;
}

/** A path for the socket of a sandbox that is not meant for service workers. */
async function probeSocket(): Promise<string> {
  return `${await (directory ??= socketDirectory())}/probe-${nextSocket++}.sock`;
}

/** Descriptors that a sandbox opens: its threads and their loops, or its pipes and its socket. */
const DESCRIPTORS = { process: 12, thread: 14 } as const;

/**
 * Starts a sandbox of the level that a plugin is to run in.
 *
 * @throws {PluginLoadError} If there are too few descriptors for one.
 */
export function startSandbox(options: SandboxOptions, socket: string): Sandbox {
  const { spec, onMessage, onExit } = options;
  const opened = reserve(spec);
  const watched: SandboxOptions = {
    ...options,
    onMessage(message) {
      opened();
      onMessage(message);
    },
    onExit(exit) {
      opened();
      onExit(exit);
    },
  };
  try {
    const sandbox = spec.isolation === "process"
      ? startProcessSandbox({ ...watched, socket })
      : startWorkerSandbox(watched);
    void sandbox.gone.then(opened);
    return sandbox;
  } catch (error) {
    opened();
    throw error;
  }
}

function reserve(spec: PluginSpec): () => void {
  const count = spec.isolation === "process" ? DESCRIPTORS.process : DESCRIPTORS.thread;
  try {
    return reserveDescriptors(count, `the sandbox of plugin "${spec.name}"`);
  } catch (error) {
    throw new PluginLoadError((error as Error).message, { file: spec.file, cause: error });
  }
}

/**
 * Loads a plugin in a sandbox without rights and reads what it says of itself.
 *
 * @throws {PluginLoadError} If it cannot be loaded or is not a plugin.
 */
export async function probe(spec: PluginSpec): Promise<PluginManifest> {
  const socket = spec.isolation === "process" ? await probeSocket() : "";
  // What runs inline later is trusted, and may import what lies elsewhere.
  const rights: Rights = spec.isolation === "inline" ? { ...NO_RIGHTS, read: true } : NO_RIGHTS;
  const waiter = new LoadWaiter(spec);
  const sandbox = startSandbox({
    spec,
    rights,
    heap: spec.heap ?? DEFAULT_HEAP,
    onMessage: (message) => waiter.take(message),
    onExit: (exit) => waiter.exited(exit),
  }, socket);
  try {
    sandbox.send(["describe", spec.file]);
    return readManifest(await waiter.wait("described"), spec);
  } finally {
    await sandbox.kill();
  }
}

/** What a sandbox is to load for a plugin. */
export function loadOrder(spec: PluginSpec): LoadOrder {
  return {
    file: spec.file,
    directory: pluginDirectory(spec),
    name: spec.name,
    configs: spec.uses.map((use) => use.config),
  };
}

/** Waits for a sandbox to say that it has done something, or why it could not. */
export class LoadWaiter {
  readonly #spec: PluginSpec;
  #resolve: (value: unknown) => void = () => {};
  #reject: (error: PluginLoadError) => void = () => {};
  #awaited = "";
  #failure: PluginLoadError | null = null;

  constructor(spec: PluginSpec) {
    this.#spec = spec;
  }

  /**
   * Waits for a message of this kind; resolves with its argument.
   *
   * @throws {PluginLoadError} If the plugin cannot be loaded.
   */
  async wait(kind: string): Promise<unknown> {
    if (this.#failure !== null) throw this.#failure;
    this.#awaited = kind;
    const { loadTimeout } = this.#spec;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
        timer = setTimeout(() => {
          this.#fail(
            `it did not finish loading within ${loadTimeout / 1000} s`,
            "Look for a loop or an await that does not end in what it does at its start, or raise plugins.load_timeout.",
          );
        }, loadTimeout);
      });
    } finally {
      clearTimeout(timer);
      this.#awaited = "";
    }
  }

  take(message: SandboxMessage): void {
    if (message[0] === this.#awaited) return this.#resolve(message[1]);
    if (message[0] === "failed") return this.#loadFailed(String(message[1]), String(message[2]));
    if (message[0] === "setup_failed") this.#setUpFailed(message[1]);
  }

  exited(exit: SandboxExit): void {
    if (exit.cause === "import") {
      this.#fail(
        exit.message,
        "Such a module leads out of the sandbox. Use fetch and what session and ctx offer, or run the plugin inline if you trust it.",
      );
    } else this.#fail(`its sandbox ended while it was loaded: ${exit.message}`);
  }

  #loadFailed(message: string, stack: string): void {
    const { root, file } = this.#spec;
    const read = readFailure(`${message}\n${stack}`, root);
    const denied = /^Requires (\w+) access to "([^"]*)"/.exec(read.message);
    const text = denied === null
      ? read.message.replace(/^(?:TypeError: )?Module not found/, "module not found")
      : `the plugin has no ${denied[1]} access to ${denied[2]}`;
    this.#giveUp(
      new PluginLoadError(text, {
        file: read.file ?? file,
        line: read.line,
        column: read.column,
        remedy: denied === null ? undefined : "A plugin imports from its own folder only.",
      }),
    );
  }

  #setUpFailed(failure: unknown): void {
    const { use, message, issues, stack } = failure as {
      use: unknown;
      message: unknown;
      issues: unknown;
      stack: unknown;
    };
    const source = typeof use === "number" ? this.#spec.uses[use]?.source ?? null : null;
    const lines = Array.isArray(issues)
      ? issues.slice(0, 20).map((pair: unknown) => {
        const [path, text] = Array.isArray(pair) ? pair : [];
        return `${path === "" ? "" : `${String(path)}: `}${String(text)}`;
      })
      : [];
    const about = `plugin "${this.#spec.name}": ${String(message)}`;
    if (lines.length > 0) {
      return this.#giveUp(
        new PluginLoadError(`${about}: ${lines.join("; ")}`, {
          file: source?.file ?? this.#spec.file,
          line: source?.line,
          column: source?.column,
          remedy: 'Correct what stands under "with:".',
        }),
      );
    }
    const read = readFailure(`${about}\n${String(stack)}`, this.#spec.root);
    this.#giveUp(
      new PluginLoadError(about, {
        file: read.file ?? this.#spec.file,
        line: read.line,
        column: read.column,
      }),
    );
  }

  #fail(message: string, remedy?: string): void {
    this.#giveUp(
      new PluginLoadError(`plugin "${this.#spec.name}": ${message}`, {
        file: this.#spec.file,
        remedy,
      }),
    );
  }

  #giveUp(error: PluginLoadError): void {
    this.#failure ??= error;
    this.#reject(error);
  }
}
