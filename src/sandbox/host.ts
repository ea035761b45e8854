/**
 * The plugins of the program: on the main thread, and aside from all calls.
 *
 * @module
 */
import { same } from "../base/same.ts";
import type { HealthChange } from "../plugin/upstream.ts";
import { contentDigest } from "./content_digest.ts";
import type { Generation } from "./generation.ts";
import { type LoadedPlugin, type PluginEvent, Runner, type RunnerListener } from "./runner.ts";
import { PluginLoadError, PluginLoadErrors } from "./load_error.ts";
import type { RestartOptions } from "./restart_policy.ts";
import type { Line } from "./sandbox.ts";
import { MemoryLease, SpareMemory } from "./spare_memory.ts";
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
  /** Gives up starting. Default: never. */
  readonly signal?: AbortSignal;
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
  /** Slots that it was told of. */
  readonly known: Set<number>;
  /** What it shares with which generation: `plugin:generation`. */
  readonly lent: Map<string, MemoryLease>;
}

/** A plugin as it was loaded. It is never made another: a changed plugin gets another slot. */
interface Slot {
  readonly number: number;
  readonly runner: Runner;
  /** Which pair of sockets it has, if it runs in a process; else `-1`. */
  readonly seat: number;
  /** What it was made from. */
  readonly spec: PluginSpec;
  /** Of its files. */
  readonly digest: string;
}

/** Other plugins that are ready to take over. Exactly one of the two must follow. */
export interface PluginChange {
  /** The slot of each plugin, in the order that was asked for. */
  readonly slots: readonly number[];
  /** Names of the plugins that are not what they were, or were not there. */
  readonly started: readonly string[];
  /** The plugins are these from now on. Those that are not among them go on until {@linkcode PluginHost.release}. */
  commit(): void;
  /** Ends those that were started. */
  abort(): Promise<void>;
}

/** All plugins of the program. */
export class PluginHost {
  readonly #options: PluginHostOptions;
  readonly #slots = new Map<number, Slot>();
  readonly #wires = new Set<Wire>();
  #directory: string;
  #ownsDirectory = false;
  #nextSlot = 0;
  /** The slot of each plugin of the configuration. */
  #current: readonly number[] = [];
  /** Endpoints that plugins have named before they served, by slot. */
  readonly #early = new Map<number, PluginEvent>();
  readonly #spare = new SpareMemory();
  #ticking: Wire | null = null;
  #closed = false;

  private constructor(options: PluginHostOptions) {
    this.#options = options;
    this.#directory = options.socketDirectory ?? "";
  }

  /**
   * Starts every plugin in a sandbox of its own.
   *
   * @throws {PluginLoadError} If one cannot be loaded; none runs then.
   * @throws {PluginLoadErrors} If several cannot.
   * @throws The reason of the signal, if that came first.
   */
  static async start(options: PluginHostOptions): Promise<PluginHost> {
    const { plugins, signal } = options;
    const host = new PluginHost(options);
    const givenUp = Promise.withResolvers<never>();
    const giveUp = () => givenUp.reject(signal?.reason);
    if (signal?.aborted) giveUp();
    signal?.addEventListener("abort", giveUp);
    try {
      const change = await Promise.race([host.prepare(plugins), givenUp.promise]);
      change.commit();
    } catch (error) {
      await host.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
    return host;
  }

  /** The slot of each plugin, in the order of the configuration. */
  get slots(): readonly number[] {
    return this.#current;
  }

  /**
   * The sockets that plugins in processes may be reached by. A service worker needs the rights to read and write
   * these paths, and `unix:` and the path for `net`.
   */
  get socketPaths(): string[] {
    return this.socketsOf(this.#current);
  }

  /** The sockets that the plugins of these slots may be reached by, and those that would take their place. */
  socketsOf(slots: readonly number[]): string[] {
    const seats = slots.map((slot) => this.#slots.get(slot)!.seat + 1).filter((seat) => seat > 0);
    // A plugin that is replaced sits beside the one that it replaces for a while.
    const most = Math.max(2 * seats.length, ...seats, 0);
    return Array.from({ length: most }, (_, seat) => this.#sockets(seat)).flat();
  }

  /** The plugins as they were loaded, in order. */
  get loaded(): LoadedPlugin[] {
    return this.loadedIn(this.#current);
  }

  /** The plugins of these slots as they were loaded. */
  loadedIn(slots: readonly number[]): LoadedPlugin[] {
    return slots.flatMap((slot) => this.#slots.get(slot)!.runner.loaded ?? []);
  }

  /**
   * Makes other plugins ready beside those that run. A plugin that is to be what it is keeps its sandbox: same files,
   * rights, limits and configs.
   *
   * @throws {PluginLoadError} If one cannot be loaded; nothing has changed then.
   * @throws {PluginLoadErrors} If several cannot.
   */
  async prepare(plugins: readonly PluginSpec[]): Promise<PluginChange> {
    const digests = await Promise.all(plugins.map(({ root }) => contentDigest(root)));
    if (this.#closed) throw new Error("Cannot prepare plugins: their host is closed");
    await this.#makeDirectory(plugins);
    const fresh: Slot[] = [];
    const slots = plugins.map((spec, i) => {
      const known = this.#current.map((slot) => this.#slots.get(slot)!)
        .find((slot) => slot.digest === digests[i] && sameSpec(slot.spec, spec));
      if (known !== undefined) return known.number;
      const slot = this.#makeSlot(spec, digests[i]!);
      fresh.push(slot);
      return slot.number;
    });
    const abort = async () => {
      await Promise.all(fresh.map((slot) => this.#end(slot)));
    };
    const results = await Promise.allSettled(fresh.map(({ runner }) => runner.start()));
    const failures = results.flatMap((one) => one.status === "rejected" ? [one.reason] : []);
    if (failures.length > 0) {
      await abort();
      throw oneOf(failures);
    }
    return {
      slots,
      started: fresh.map(({ spec }) => spec.name),
      commit: () => {
        this.#current = slots;
        this.#spare.keep(new Set(plugins.map(({ name }) => name)));
        for (const slot of slots) {
          const event = this.#early.get(slot);
          if (event !== undefined) this.#options.onEvent?.(event);
        }
        this.#early.clear();
      },
      abort,
    };
  }

  /** Names of the plugins among these that run, and whose files have changed since they were loaded. */
  async touched(plugins: readonly PluginSpec[]): Promise<Set<string>> {
    const names = new Set<string>();
    for (const { name, root } of plugins) {
      const digest = await contentDigest(root);
      const slots = this.#current.map((slot) => this.#slots.get(slot)!);
      if (slots.some(({ spec, digest: known }) => spec.name === name && known !== digest)) {
        names.add(name);
      }
    }
    return names;
  }

  /**
   * No request of any service worker uses these plugins any more: those that are not among the current ones are ended.
   */
  async release(slots: Iterable<number>): Promise<void> {
    const gone = [...slots].flatMap((number) => {
      const slot = this.#slots.get(number);
      return slot === undefined || this.#current.includes(number) ? [] : [slot];
    });
    await Promise.all(gone.map((slot) => this.#end(slot)));
  }

  /** The plugins as they were loaded, in order, and whether they can be called now. */
  get states(): PluginState[] {
    return this.#current.flatMap((slot) => {
      const { loaded, current, number } = this.#slots.get(slot)!.runner;
      return loaded === null ? [] : [{
        loaded,
        running: current !== null || loaded.spec.isolation === "inline",
        generation: number,
      }];
    });
  }

  /** What to post to a new service worker, with `wire` in the transfer list; it calls `connectPlugins`. */
  connect(): PluginsInit {
    const { port1, port2 } = new MessageChannel();
    const wire: Wire = {
      port: port1,
      end: port2,
      busy: new Set(),
      known: new Set(),
      lent: new Map(),
    };
    this.#wires.add(wire);
    port1.onmessage = (event) => this.#heard(wire, event.data as WorkerNotice | null);
    const loaded = [...this.#slots.values()].filter(({ runner }) => runner.loaded !== null);
    for (const { number, runner } of loaded) {
      const { current } = runner;
      if (current !== null || runner.facts.inline !== null) this.#attach(wire, number, current);
    }
    this.#ticking ??= wire;
    post(wire, ["ticks", this.#ticking === wire]);
    post(wire, ["synced"]);
    const plugins = loaded.map(({ number, runner }) => [number, runner.facts] as const);
    return { plugins, wire: port2 };
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
    const slot = this.#current.map((number) => this.#slots.get(number)!)
      .find((one) => one.spec.name === name);
    if (slot === undefined) {
      throw new RangeError(`Cannot replace plugin "${name}": there is none of that name`);
    }
    await slot.runner.replace(spec);
    const { root } = spec ?? slot.spec;
    const next = { ...slot, spec: spec ?? slot.spec, digest: await contentDigest(root) };
    if (this.#slots.has(slot.number)) this.#slots.set(slot.number, next);
  }

  /**
   * Tells all plugins that have the hook `upstreamHealth`, each once, that a member of an upstream has become usable
   * or unusable. Nobody waits for them; one that is being restarted is not told.
   */
  tellHealth(change: HealthChange): void {
    let inline = false;
    for (const number of this.#current) {
      const { loaded, current } = this.#slots.get(number)!.runner;
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
    await Promise.all([...this.#slots.values()].map(({ runner }) => runner.close()));
    for (const wire of this.#wires) wire.port.close();
    this.#wires.clear();
    if (this.#ownsDirectory) await Deno.remove(this.#directory, { recursive: true });
  }

  #makeSlot(spec: PluginSpec, digest: string): Slot {
    const { restart, pingInterval, pingTimeout, lateTimeout, drainTimeout } = this.#options;
    const number = this.#nextSlot++;
    const seat = spec.isolation === "process" ? this.#freeSeat() : -1;
    const runner = new Runner(spec, {
      listener: this.#listen(number),
      restart: restart ?? {},
      watch: {
        pingInterval: pingInterval ?? PING_INTERVAL,
        pingTimeout: pingTimeout ?? 5000,
      },
      lateTimeout: lateTimeout ?? 500,
      drainTimeout: drainTimeout ?? 10_000,
      sockets: this.#sockets(seat),
    });
    const slot = { number, runner, seat, spec, digest };
    this.#slots.set(number, slot);
    return slot;
  }

  #freeSeat(): number {
    const taken = new Set([...this.#slots.values()].map(({ seat }) => seat));
    let seat = 0;
    while (taken.has(seat)) seat++;
    return seat;
  }

  #sockets(seat: number): [string, string] {
    return [`${this.#directory}/${seat}a.sock`, `${this.#directory}/${seat}b.sock`];
  }

  async #makeDirectory(plugins: readonly PluginSpec[]): Promise<void> {
    if (this.#directory !== "" || !plugins.some(({ isolation }) => isolation === "process")) return;
    this.#directory = await Deno.makeTempDir({ prefix: "sluice-" });
    this.#ownsDirectory = true;
  }

  async #end(slot: Slot): Promise<void> {
    await slot.runner.close();
    this.#slots.delete(slot.number);
    for (const wire of this.#wires) post(wire, ["forget", slot.number]);
  }

  #listen(index: number): RunnerListener {
    return {
      event: (event) => {
        // Only who serves has a say: one that is being made ready has it later, one that is leaving never.
        if (event.kind === "endpoints" && !this.#current.includes(index)) {
          this.#early.set(index, event);
        } else this.#options.onEvent?.(event);
      },
      up: (generation) => {
        for (const wire of this.#wires) {
          // Inline plugins are loaded into service workers that begin with them: one that runs has no right to.
          if (generation !== null || wire.known.has(index)) this.#attach(wire, index, generation);
        }
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
    const { runner } = this.#slots.get(index)!;
    const number = generation?.number ?? runner.number;
    wire.known.add(index);
    const line = generation === null ? null : this.#line(wire, index, generation);
    if (generation !== null) wire.busy.add(`${index}:${number}`);
    const moved = line !== null && line.kind === "port" ? [line.port] : [];
    post(wire, ["attach", index, number, line, runner.facts], moved);
  }

  /** Opens a line for a service worker. The memory of it is used again when both its threads have let go of it. */
  #line(wire: Wire, index: number, generation: Generation): Line {
    const { name } = this.#slots.get(index)!.spec;
    const line = generation.line(() => this.#spare.take(name));
    if (line.kind !== "port" || line.memory === null) return line;
    const lease = new MemoryLease(name, line.memory, ({ memory }) => {
      this.#spare.give(name, memory, this.#wires.size);
    });
    wire.lent.set(`${index}:${generation.number}`, lease);
    void generation.gone.then(() => lease.leave());
    return line;
  }

  #heard(wire: Wire, notice: WorkerNotice | null): void {
    if (notice === null) return this.#gone(wire);
    const [kind, index] = notice;
    if (kind === "closed" || kind === "drained") {
      const key = `${index}:${notice[2]}`;
      const lease = wire.lent.get(key);
      wire.lent.delete(key);
      lease?.leave();
      if (kind === "closed") return;
    }
    const runner = this.#slots.get(index)?.runner;
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
    for (const { runner } of this.#slots.values()) runner.settled();
    if (this.#ticking !== wire) return;
    const [next] = this.#wires;
    this.#ticking = next ?? null;
    if (next !== undefined) post(next, ["ticks", true]);
  }
}

function post(wire: Wire, notice: HostNotice, moved: MessagePort[] = []): void {
  wire.port.postMessage(notice, moved);
}

/** Whether two plugins are run by the same; where their configs stand in the file does not matter. */
function sameSpec(a: PluginSpec, b: PluginSpec): boolean {
  const plain = (spec: PluginSpec) => ({
    ...spec,
    uses: spec.uses.map(({ config }) => ({ config })),
  });
  return same(plain(a), plain(b));
}

/** What is thrown for failures to load plugins: all of them, unless one is no fault of a plugin. */
function oneOf(failures: readonly unknown[]): unknown {
  const known = failures.filter((one) => one instanceof PluginLoadError);
  if (known.length < failures.length) return failures.find((one) => !known.includes(one as never));
  return known.length === 1 ? known[0] : new PluginLoadErrors(known);
}
