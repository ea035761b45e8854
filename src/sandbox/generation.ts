/**
 * One sandbox of one plugin, from its start to its end.
 *
 * @module
 */
import { phaseRow } from "../plugin/phases.ts";
import type { EndpointList, HealthChange } from "../plugin/upstream.ts";
import type { SandboxMessage } from "./control.ts";
import type { LogLevel } from "./context.ts";
import { readManifest } from "./manifest.ts";
import { copyEndpoints, ENDPOINT_PACE } from "./named_endpoints.ts";
import { Paced } from "./paced.ts";
import { loadOrder, LoadWaiter, startSandbox } from "./probe.ts";
import type { Rights } from "./permissions.ts";
import { MAX_TEXT, MAX_VALUE_BYTES } from "./protocol.ts";
import type { Line, Sandbox, SandboxExit } from "./sandbox.ts";
import type { PluginManifest, PluginSpec } from "./spec.ts";
import { clip, copyValue, describeError } from "./values.ts";
import type { Cloneable } from "../plugin/session.ts";

/** What a plugin may hold beside its heap. */
const MAX_EXTERNAL = 256 * 1024 * 1024;
/** What a process takes before it does anything, and a little more. */
const PROCESS_BASE = 128 * 1024 * 1024;
/** Messages that a sandbox may send to the main thread in a second. */
const MAX_MESSAGES = 5000;
/** How long `dispose` may take. */
const DISPOSE_TIMEOUT = 2000;

/** How a sandbox is watched. Times are milliseconds. */
export interface WatchOptions {
  /** Between two pings. */
  readonly pingInterval: number;
  /** How long a pong may take. */
  readonly pingTimeout: number;
}

/** What a {@linkcode Generation} takes. */
export interface GenerationOptions {
  readonly spec: PluginSpec;
  readonly rights: Rights;
  /** Heap limit in bytes. */
  readonly heap: number;
  readonly number: number;
  readonly socket: string;
  readonly watch: WatchOptions;
  /** Called once if it dies, or has to be killed, after it was started. */
  readonly onDeath: (generation: Generation, exit: SandboxExit) => void;
  readonly onLog: (
    level: LogLevel,
    message: string,
    fields: Readonly<Record<string, Cloneable>> | undefined,
  ) => void;
  /** Called with the endpoints that the plugin names, while it is the one that serves. */
  readonly onEndpoints: (list: EndpointList) => void;
}

/** A sandbox that is watched. */
export class Generation {
  readonly number: number;
  readonly socket: string;
  readonly spec: PluginSpec;
  readonly rights: Rights;
  readonly heap: number;
  readonly #options: GenerationOptions;
  readonly #sandbox: Sandbox;
  readonly #waiter: LoadWaiter;
  // A list of a stranger is looked at only in our own time, however often he sends one.
  readonly #endpoints = new Paced<unknown>(ENDPOINT_PACE, (list) => this.#named(list));
  /** Deadline of `upstreamHealth`; `null` without that hook. */
  #healthTimeout: number | null = null;
  #loaded = false;
  #dead = false;
  #interval: ReturnType<typeof setInterval> | undefined;
  #pongTimer: ReturnType<typeof setTimeout> | undefined;
  #ping = 0;
  #second = 0;
  #messages = 0;
  #onDisposed: () => void = () => {};

  constructor(options: GenerationOptions) {
    const { spec, rights, heap } = options;
    this.#options = options;
    this.number = options.number;
    this.socket = options.socket;
    this.spec = spec;
    this.rights = rights;
    this.heap = heap;
    this.#waiter = new LoadWaiter(spec);
    this.#sandbox = startSandbox({
      spec,
      rights,
      heap,
      onMessage: (message) => this.#receive(message),
      onExit: (exit) => this.#exited(exit),
    }, options.socket);
  }

  /** Whether it is gone. */
  get dead(): boolean {
    return this.#dead;
  }

  /**
   * Loads the plugin's module and reads what it says of itself.
   *
   * @throws {PluginLoadError} If it cannot be loaded or is not a plugin; the sandbox is gone then.
   */
  async describe(): Promise<PluginManifest> {
    try {
      this.#sandbox.send(["describe", this.spec.file]);
      return readManifest(await this.#waiter.wait("described"), this.spec);
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /**
   * Loads the plugin and sets up its uses. From then on it is watched.
   *
   * @throws {PluginLoadError} If that fails; the sandbox is gone then.
   */
  async load(manifest: PluginManifest): Promise<void> {
    try {
      this.#sandbox.send(["load", loadOrder(this.spec)]);
      await this.#waiter.wait("loaded");
    } catch (error) {
      await this.kill();
      throw error;
    }
    this.#loaded = true;
    if (manifest.phases.includes("tick")) {
      this.#sandbox.send(["tick", manifest.tickInterval]);
    }
    if (manifest.phases.includes("upstreamHealth")) {
      this.#healthTimeout = this.spec.timeout ?? manifest.limits.timeout ??
        phaseRow("upstreamHealth").timeout;
    }
    this.#interval = setInterval(() => this.#watch(), this.#options.watch.pingInterval);
    // A host that nobody closed shall not keep the process alive.
    Deno.unrefTimer(this.#interval as unknown as number);
  }

  /** As {@linkcode Sandbox.line}. */
  line(memory: () => SharedArrayBuffer | null): Line {
    return this.#sandbox.line(memory);
  }

  /** Resolves when no code of it runs any more; never, if that cannot be known. */
  get gone(): Promise<void> {
    return this.#sandbox.gone;
  }

  /** It serves now: what it says of endpoints counts, also what it has said before. */
  serve(): void {
    this.#endpoints.open();
  }

  /** Another one serves now: what it says of endpoints does not count any more. */
  retire(): void {
    this.#endpoints.close();
  }

  /** Tells it that a member of an upstream has become usable or unusable, if it has a hook for that. */
  tellHealth(change: HealthChange): void {
    if (this.#dead || this.#healthTimeout === null) return;
    this.#sandbox.send(["health", change, this.#healthTimeout]);
  }

  /** Gives it up. */
  condemn(exit: SandboxExit): void {
    if (this.#dead) return;
    void this.kill();
    this.#options.onDeath(this, exit);
  }

  /** Calls `dispose` of the plugin, then ends the sandbox. */
  async dispose(): Promise<void> {
    if (this.#dead) return this.kill();
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#onDisposed = resolve;
      timer = setTimeout(resolve, DISPOSE_TIMEOUT);
      this.#sandbox.send(["dispose"]);
    });
    clearTimeout(timer);
    await this.kill();
  }

  /** Ends the sandbox at once. */
  async kill(): Promise<void> {
    this.#dead = true;
    clearInterval(this.#interval);
    clearTimeout(this.#pongTimer);
    this.#endpoints.close();
    this.#onDisposed();
    await this.#sandbox.kill();
  }

  #exited(exit: SandboxExit): void {
    if (this.#dead) return;
    if (!this.#loaded) return this.#waiter.exited(exit);
    this.condemn(exit);
  }

  #watch(): void {
    this.#sendPing();
    if (this.spec.isolation !== "process") return;
    void this.#sandbox.residentMemory().then((bytes) => {
      if (bytes !== null && bytes > this.heap + MAX_EXTERNAL + PROCESS_BASE) this.#tooLarge(bytes);
    });
  }

  #sendPing(): void {
    if (this.#dead || this.#pongTimer !== undefined) return;
    this.#pongTimer = setTimeout(() => {
      this.condemn({ cause: "exit", message: "it did not answer: a hook loops or blocks" });
    }, this.#options.watch.pingTimeout);
    this.#sandbox.send(["ping", ++this.#ping]);
  }

  #receive(message: SandboxMessage): void {
    if (this.#dead || !Array.isArray(message) || this.#floods()) return;
    switch (message[0]) {
      case "pong":
        if (message[1] !== this.#ping) return;
        clearTimeout(this.#pongTimer);
        this.#pongTimer = undefined;
        if (typeof message[2] === "number" && message[2] > MAX_EXTERNAL) this.#tooLarge(message[2]);
        return;
      case "log":
        return this.#log(message[1], message[2], message[3]);
      case "endpoints":
        return this.#endpoints.put(message[1]);
      case "disposed":
        return this.#onDisposed();
      default:
        if (!this.#loaded) this.#waiter.take(message);
    }
  }

  #log(level: unknown, message: unknown, fields: unknown): void {
    if (level !== "debug" && level !== "info" && level !== "warn" && level !== "error") return;
    let copy: Cloneable;
    try {
      copy = copyValue(fields, MAX_VALUE_BYTES, "fields");
    } catch {
      // What is no plain data is left out; the line is still worth having.
      copy = undefined;
    }
    const plain = typeof copy === "object" && copy !== null && !Array.isArray(copy)
      ? copy as Readonly<Record<string, Cloneable>>
      : undefined;
    this.#options.onLog(level, clip(String(message), MAX_TEXT), plain);
  }

  #named(value: unknown): void {
    let list: EndpointList;
    try {
      list = copyEndpoints(value);
    } catch (error) {
      const text = `The endpoints that it names are refused: ${describeError(error, MAX_TEXT)}`;
      return this.#options.onLog("error", text, undefined);
    }
    this.#options.onEndpoints(list);
  }

  #floods(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#messages = 0;
    }
    if (++this.#messages <= MAX_MESSAGES) return false;
    this.condemn({
      cause: "exit",
      message: `it sent more than ${MAX_MESSAGES} messages in a second`,
    });
    return true;
  }

  #tooLarge(bytes: number): void {
    const megabytes = Math.round(bytes / 1024 / 1024);
    this.condemn({ cause: "memory", message: `it holds ${megabytes} MiB, buffers included` });
  }
}
