/**
 * The plugins of the program: on the main thread, and aside from all calls.
 *
 * @module
 */
import type { HealthChange } from "../plugin/upstream.ts";
import type { Generation } from "./generation.ts";
import { type LoadedPlugin, type PluginEvent, Runner, type RunnerListener } from "./runner.ts";
import type { RestartOptions } from "./restart_policy.ts";
import type { PluginSpec } from "./spec.ts";
import type { HostNotice, PluginsInit, WorkerNotice } from "./wire.ts";

/** Rounds of missed deadlines in a row after which a plugin is given up. */
const LATE_ROUNDS = 10;
/** The longest delay between two looks at a plugin's health, by default. */
const PING_INTERVAL = 2000;

/** What {@linkcode PluginHost.start} takes. Times are milliseconds. */
export interface PluginHostOptions {
  /** The plugins; their order is that of `PluginFacts` and of all indexes. */
  readonly plugins: readonly PluginSpec[];
  /** Called for what happens to a plugin, and for what it logs. */
  readonly onEvent?: (event: PluginEvent) => void;
  /** An existing private directory for the sockets of plugins that run in processes. Default: made and removed. */
  readonly socketDirectory?: string;
  readonly restart?: RestartOptions;
  /** Between two pings of a sandbox. Default 2000. */
  readonly pingInterval?: number;
  /** How long a pong may take. Default 5000. */
  readonly pingTimeout?: number;
  /** How long it may take once a call has missed its deadline. Default 500. */
  readonly lateTimeout?: number;
  /** How long calls of a replaced sandbox may take. Default 10 000. */
  readonly drainTimeout?: number;
}

/** How a plugin is. */
export interface PluginState {
  readonly loaded: LoadedPlugin;
  readonly running: boolean;
  /** How many sandboxes it has had. */
  readonly generation: number;
}

/** One service worker, as the host sees it. */
interface Wire {
  readonly port: MessagePort;
  /** The other end, which went to the service worker. */
  readonly end: MessagePort;
  /** Generations that it still has calls with, by plugin: `plugin:generation`. */
  readonly busy: Set<string>;
}

/** All plugins of the program. */
export class PluginHost {
  readonly #options: PluginHostOptions;
  readonly #runners: Runner[] = [];
  readonly #wires = new Set<Wire>();
  readonly #directory: string;
  readonly #ownsDirectory: boolean;
  #ticking: Wire | null = null;
  #closed = false;

  private constructor(options: PluginHostOptions, directory: string, ownsDirectory: boolean) {
    this.#options = options;
    this.#directory = directory;
    this.#ownsDirectory = ownsDirectory;
    options.plugins.forEach((spec, index) => {
      this.#runners.push(
        new Runner(spec, {
          listener: this.#listen(index),
          restart: options.restart ?? {},
          watch: {
            pingInterval: options.pingInterval ?? PING_INTERVAL,
            pingTimeout: options.pingTimeout ?? 5000,
          },
          lateTimeout: options.lateTimeout ?? 500,
          drainTimeout: options.drainTimeout ?? 10_000,
          sockets: [`${directory}/${index}a.sock`, `${directory}/${index}b.sock`],
        }),
      );
    });
  }

  /**
   * Starts every plugin in a sandbox of its own.
   *
   * @throws {PluginLoadError} If one cannot be loaded; none runs then.
   */
  static async start(options: PluginHostOptions): Promise<PluginHost> {
    const processes = options.plugins.some((spec) => spec.isolation === "process");
    const made = processes && options.socketDirectory === undefined;
    const directory = made
      ? await Deno.makeTempDir({ prefix: "sluice-" })
      : options.socketDirectory ?? "";
    const host = new PluginHost(options, directory, made);
    const results = await Promise.allSettled(host.#runners.map((runner) => runner.start()));
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      await host.close();
      throw result.reason;
    }
    return host;
  }

  /**
   * The sockets that plugins in processes may be reached by. A service worker needs the rights to read and write
   * these paths, and `unix:` and the path for `net`.
   */
  get socketPaths(): string[] {
    return this.#options.plugins.flatMap((spec, index) =>
      spec.isolation === "process"
        ? [`${this.#directory}/${index}a.sock`, `${this.#directory}/${index}b.sock`]
        : []
    );
  }

  /** The plugins as they were loaded, in order. */
  get loaded(): LoadedPlugin[] {
    return this.#runners.flatMap(({ loaded }) => loaded ?? []);
  }

  /** The plugins as they were loaded, in order, and whether they can be called now. */
  get states(): PluginState[] {
    return this.#runners.flatMap(({ loaded, current, number }) =>
      loaded === null ? [] : [{
        loaded,
        running: current !== null || loaded.spec.isolation === "inline",
        generation: number,
      }]
    );
  }

  /** What to post to a new service worker, with `wire` in the transfer list; it calls `connectPlugins`. */
  connect(): PluginsInit {
    const { port1, port2 } = new MessageChannel();
    const wire: Wire = { port: port1, end: port2, busy: new Set() };
    this.#wires.add(wire);
    port1.onmessage = (event) => this.#heard(wire, event.data as WorkerNotice | null);
    this.#runners.forEach((runner, index) => {
      const { current } = runner;
      if (current !== null || runner.facts.inline !== null) this.#attach(wire, index, current);
    });
    this.#ticking ??= wire;
    post(wire, ["ticks", this.#ticking === wire]);
    post(wire, ["synced"]);
    return { plugins: this.#runners.map((runner) => runner.facts), wire: port2 };
  }

  /** A service worker that was given `init` has ended without saying so. */
  disconnect(init: PluginsInit): void {
    for (const wire of this.#wires) if (wire.end === init.wire) this.#gone(wire);
  }

  /**
   * Starts a plugin anew, from what is on disk now. Calls that are under way end with the old one.
   *
   * @param name Name of the plugin.
   * @param spec What to run it by from now on. Default: as before.
   * @throws {PluginLoadError} If it cannot be loaded; the old one then goes on.
   * @throws {RangeError} If there is no such plugin.
   */
  async replace(name: string, spec?: PluginSpec): Promise<void> {
    const index = this.#options.plugins.findIndex((one) => one.name === name);
    if (index < 0) {
      throw new RangeError(`Cannot replace plugin "${name}": there is none of that name`);
    }
    await this.#runners[index]!.replace(spec);
  }

  /**
   * Tells all plugins that have the hook `upstreamHealth`, each once, that a member of an upstream has become usable
   * or unusable. Nobody waits for them; one that is being restarted is not told.
   */
  tellHealth(change: HealthChange): void {
    let inline = false;
    for (const { loaded, current } of this.#runners) {
      if (loaded === null || !loaded.manifest.phases.includes("upstreamHealth")) continue;
      if (loaded.spec.isolation === "inline") inline = true;
      else current?.tellHealth(change);
    }
    if (inline && this.#ticking !== null) post(this.#ticking, ["health", change]);
  }

  /** Ends all plugins: `dispose` is called, then their sandboxes are killed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(this.#runners.map((runner) => runner.close()));
    for (const wire of this.#wires) wire.port.close();
    this.#wires.clear();
    if (this.#ownsDirectory) await Deno.remove(this.#directory, { recursive: true });
  }

  #listen(index: number): RunnerListener {
    return {
      event: (event) => this.#options.onEvent?.(event),
      up: (generation) => {
        for (const wire of this.#wires) this.#attach(wire, index, generation);
      },
      down: (generation, reason) => {
        for (const wire of this.#wires) {
          wire.busy.delete(`${index}:${generation.number}`);
          post(wire, ["down", index, generation.number, reason]);
        }
      },
      draining: (generation) => {
        const key = `${index}:${generation.number}`;
        for (const wire of this.#wires) if (wire.busy.has(key)) return true;
        return false;
      },
    };
  }

  #attach(wire: Wire, index: number, generation: Generation | null): void {
    const runner = this.#runners[index]!;
    const number = generation?.number ?? runner.number;
    const line = generation === null ? null : generation.line();
    if (generation !== null) wire.busy.add(`${index}:${number}`);
    const moved = line !== null && line.kind === "port" ? [line.port] : [];
    post(wire, ["attach", index, number, line, runner.facts], moved);
  }

  #heard(wire: Wire, notice: WorkerNotice | null): void {
    if (notice === null) return this.#gone(wire);
    const [kind, index] = notice;
    const runner = this.#runners[index];
    if (runner === undefined) return;
    if (kind === "log") {
      const [, , level, message, fields] = notice;
      const plugin = runner.facts.name;
      this.#options.onEvent?.({ kind: "log", plugin, level, message, fields });
      return;
    }
    if (kind === "endpoints") {
      // Each service worker has its own instance: one speaks for all, or they would fight.
      if (this.#ticking !== wire) return;
      this.#options.onEvent?.({ kind, plugin: runner.facts.name, list: notice[2] });
      return;
    }
    const number = notice[2];
    if (kind === "drained") {
      wire.busy.delete(`${index}:${number}`);
      return runner.settled();
    }
    const { current } = runner;
    if (current === null || current.number !== number) return;
    if (kind === "foul") current.condemn({ cause: "exit", message: notice[3] });
    else if (notice[3] >= LATE_ROUNDS) {
      current.condemn({ cause: "exit", message: "its calls keep missing their deadline" });
    }
  }

  /** A service worker has ended. */
  #gone(wire: Wire): void {
    this.#wires.delete(wire);
    wire.port.close();
    for (const runner of this.#runners) runner.settled();
    if (this.#ticking !== wire) return;
    const [next] = this.#wires;
    this.#ticking = next ?? null;
    if (next !== undefined) post(next, ["ticks", true]);
  }
}

function post(wire: Wire, notice: HostNotice, moved: MessagePort[] = []): void {
  wire.port.postMessage(notice, moved);
}
