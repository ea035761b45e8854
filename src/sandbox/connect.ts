/**
 * The plugins as a service worker has them.
 *
 * @module
 */
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { PhaseHandler } from "../plugin/handler.ts";
import type { PhaseName } from "../plugin/phases.ts";
import type { EndpointList, HealthChange } from "../plugin/upstream.ts";
import type { CallMeter } from "./call_meter.ts";
import type { Channel } from "./channel.ts";
import { HELLO } from "./control.ts";
import {
  InlineHandler,
  type InlinePlugin,
  type InlineState,
  loadInline,
  runTicks,
} from "./inline_handler.ts";
import { Link } from "./link.ts";
import { copyEndpoints, ENDPOINT_PACE } from "./named_endpoints.ts";
import { Paced } from "./paced.ts";
import { PortChannel } from "./port_channel.ts";
import { MAX_FRAME_FROM_SANDBOX, shapeOf } from "./protocol.ts";
import { calledPhases, RemoteHandler, type RemotePlugin } from "./remote_handler.ts";
import { RingChannel } from "./ring_channel.ts";
import type { Line } from "./sandbox.ts";
import { SocketChannel } from "./socket_channel.ts";
import type { HostNotice, PluginFacts, PluginsInit, WorkerNotice } from "./wire.ts";
import { describeError } from "./values.ts";

/** What {@linkcode connectPlugins} takes besides. */
export interface ConnectOptions {
  /** Where the deadlines of calls wait. */
  readonly timers: TimerWheel;
  /** Called when a plugin was replaced by one with other phases or matches: chains have to be made anew. */
  readonly onChange?: (plugin: number) => void;
}

/** The plugins of a service worker. */
export interface PluginConnections {
  /**
   * Resolves when the plugins of these slots can be called, or could be before they died.
   *
   * @throws {PluginLoadError} If an inline plugin among them cannot be loaded.
   */
  attached(slots: readonly number[]): Promise<void>;
  /**
   * The handler of one use of a plugin. It stays good when the plugin is restarted or replaced.
   *
   * @param plugin Slot of the plugin; at the start, its index in the configuration.
   * @param use Index of its use.
   * @param meter Is told of each call. Default: nobody is.
   * @throws {RangeError} If there is none.
   */
  handler(plugin: number, use: number, meter?: CallMeter | null): PhaseHandler;
  /** Names of the plugins that cannot be called now. */
  readonly down: readonly string[];
  /** Calls that wait for an answer, over all plugins. */
  readonly pending: number;
  /** How often calls had to wait for a thread to take others, by name of the plugin. */
  readonly full: ReadonlyMap<string, number>;
  /** Tells the host, fails what waits, and disposes inline plugins. */
  close(): Promise<void>;
}

/**
 * Connects this service worker with the sandboxes of all plugins, and loads those that run inline.
 *
 * @param init What `PluginHost.connect` made on the main thread.
 * @throws {PluginLoadError} If an inline plugin cannot be loaded.
 */
export async function connectPlugins(
  init: PluginsInit,
  options: ConnectOptions,
): Promise<PluginConnections> {
  const connections = new Connections(init, options);
  try {
    await connections.ready;
  } catch (error) {
    await connections.close();
    throw error;
  }
  return connections;
}

/** One plugin as this service worker has it; a `RemotePlugin` and an `InlineState` in one. */
class Entry implements RemotePlugin, InlineState {
  facts: PluginFacts;
  phases: ReadonlySet<PhaseName>;
  link: Link | null = null;
  loaded: InlinePlugin | null = null;
  reason = "it is not started";
  waiting = 0;
  /** How often calls had to wait for its sandbox to take others. */
  full = 0;
  /** Links that take no more calls but still wait for answers, by generation. */
  readonly links = new Map<number, Link>();
  stopTicks: AbortController | null = null;
  /** What an inline plugin says of endpoints: kept until this service worker is the one that runs the ticks. */
  endpoints: Paced<EndpointList> | null = null;
  work: Promise<void> = Promise.resolve();
  generation = 0;
  /** Settled when it was attached for the first time. */
  readonly first: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(facts: PluginFacts) {
    this.facts = facts;
    this.phases = calledPhases(facts);
    // Whoever waits for it hears of it; nobody has to.
    this.first.promise.catch(() => {});
  }
}

class Connections implements PluginConnections {
  readonly ready: Promise<void>;
  readonly #entries = new Map<number, Entry>();
  /** Who waits for plugins that have not been announced yet, by slot. */
  readonly #awaited = new Map<number, () => void>();
  readonly #wire: MessagePort;
  readonly #options: ConnectOptions;
  #ticks = false;
  #synced = false;
  #closed = false;

  constructor(init: PluginsInit, options: ConnectOptions) {
    for (const [slot, facts] of init.plugins) {
      const entry = new Entry(facts);
      this.#entries.set(slot, entry);
      // Those that can be called at all are attached before `ready`; who is being restarted is not waited for.
      entry.first.resolve();
    }
    this.#wire = init.wire;
    this.#options = options;
    this.ready = new Promise((resolve, reject) => {
      init.wire.onmessage = (event) => {
        const notice = event.data as HostNotice;
        if (notice[0] !== "synced") return this.#heard(notice);
        this.#synced = true;
        Promise.all([...this.#entries.values()].map((entry) => entry.work))
          .then(() => resolve(), reject);
      };
    });
  }

  get down(): readonly string[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.loaded === null && entry.link?.open !== true)
      .map((entry) => entry.facts.name);
  }

  get full(): ReadonlyMap<string, number> {
    const full = new Map<string, number>();
    for (const entry of this.#entries.values()) {
      if (entry.facts.isolation !== "worker") continue;
      full.set(entry.facts.name, (full.get(entry.facts.name) ?? 0) + entry.full);
    }
    return full;
  }

  get pending(): number {
    let pending = 0;
    for (const entry of this.#entries.values()) {
      pending += entry.waiting;
      for (const link of entry.links.values()) pending += link.size;
    }
    return pending;
  }

  async attached(slots: readonly number[]): Promise<void> {
    for (const slot of slots) {
      if (!this.#entries.has(slot)) {
        await new Promise<void>((resolve) => this.#awaited.set(slot, resolve));
      }
      await this.#entries.get(slot)?.first.promise;
    }
  }

  handler(plugin: number, use: number, meter: CallMeter | null = null): PhaseHandler {
    const entry = this.#entries.get(plugin);
    if (entry === undefined || use < 0 || use >= entry.facts.uses) {
      throw new RangeError(`There is no use ${use} of plugin ${plugin}`);
    }
    return entry.facts.isolation === "inline"
      ? new InlineHandler(entry, use, this.#options.timers, meter)
      : new RemoteHandler(entry, use, meter);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const entry of this.#entries.values()) await endEntry(entry, "the service worker ends");
    this.#wire.postMessage(null);
    this.#wire.close();
  }

  #heard(notice: HostNotice): void {
    if (this.#closed) return;
    if (notice[0] === "ticks") {
      this.#ticks = notice[1];
      for (const entry of this.#entries.values()) this.#startTicks(entry);
      return;
    }
    if (notice[0] === "health") return this.#tellHealth(notice[1]);
    if (notice[0] === "synced") return;
    if (notice[0] === "forget") return this.#forget(notice[1]);
    const known = this.#entries.get(notice[1]);
    if (notice[0] === "down") {
      if (known !== undefined) this.#down(known, notice[1], notice[2], notice[3]);
      return;
    }
    const [, index, generation, line, facts] = notice;
    const entry = known ?? this.#announce(index, facts);
    // In order, or an older generation could end up as the current one.
    entry.work = entry.work.then(() => this.#attach(entry, index, generation, line, facts));
    entry.work.then(entry.first.resolve, entry.first.reject);
    // Once all are ready, who was replaced badly goes on as before; before that, starting fails.
    if (this.#synced) {
      entry.work = entry.work.catch((error) => {
        this.#say(["log", index, "error", describeError(error, 4096), undefined]);
      });
    } else entry.work.catch(() => {});
  }

  #announce(slot: number, facts: PluginFacts): Entry {
    const entry = new Entry(facts);
    this.#entries.set(slot, entry);
    this.#awaited.get(slot)?.();
    this.#awaited.delete(slot);
    return entry;
  }

  #forget(slot: number): void {
    const entry = this.#entries.get(slot);
    this.#entries.delete(slot);
    this.#awaited.get(slot)?.();
    this.#awaited.delete(slot);
    if (entry === undefined) return;
    void endEntry(entry, "the plugin is no more");
    for (const generation of entry.links.keys()) this.#say(["closed", slot, generation]);
  }

  async #attach(
    entry: Entry,
    index: number,
    generation: number,
    line: Line | null,
    facts: PluginFacts,
  ): Promise<void> {
    if (line === null) return await this.#attachInline(entry, index, generation, facts);
    let channel: Channel;
    try {
      channel = line.kind === "port" ? connectPort(line) : await connectSocket(line);
    } catch {
      // It died before it could be reached; the host knows, and starts it again.
      return this.#say(["drained", index, generation]);
    }
    if (this.#closed) return channel.close();
    const link = new Link(facts.name, channel, this.#options.timers, facts.lateTimeout, {
      late: (rounds) => this.#say(["late", index, generation, rounds]),
      foul: (reason) => this.#say(["foul", index, generation, reason]),
      full: () => void entry.full++,
      drained: () => {
        entry.links.delete(generation);
        this.#say(["drained", index, generation]);
      },
    }, callsOften(facts));
    if (channel instanceof SocketChannel) channel.start();
    const old = entry.link;
    entry.links.set(generation, link);
    entry.link = link;
    entry.generation = generation;
    old?.retire();
    this.#changed(entry, index, facts);
  }

  async #attachInline(
    entry: Entry,
    index: number,
    generation: number,
    facts: PluginFacts,
  ): Promise<void> {
    const endpoints = new Paced<EndpointList>(
      ENDPOINT_PACE,
      (list) => this.#say(["endpoints", index, list]),
    );
    const loaded = await loadInline(
      facts.inline!,
      generation,
      (level, message, fields) => this.#say(["log", index, level, message, fields]),
      (list) => endpoints.put(copyEndpoints(list)),
    );
    entry.endpoints?.close();
    entry.endpoints = endpoints;
    const old = entry.loaded;
    entry.stopTicks?.abort();
    entry.stopTicks = null;
    entry.loaded = loaded;
    this.#changed(entry, index, facts);
    this.#startTicks(entry);
    if (old !== null) await disposeInline(old);
  }

  #changed(entry: Entry, index: number, facts: PluginFacts): void {
    const before = entry.facts;
    entry.facts = facts;
    const same = JSON.stringify([before.phases, before.match, before.matchHooks]) ===
      JSON.stringify([facts.phases, facts.match, facts.matchHooks]);
    if (same) return;
    entry.phases = calledPhases(facts);
    this.#options.onChange?.(index);
  }

  #down(entry: Entry, index: number, generation: number, reason: string): void {
    const work = entry.work.then(() => {
      const link = entry.links.get(generation);
      if (link === undefined) return;
      entry.links.delete(generation);
      if (entry.link === link) {
        entry.link = null;
        entry.reason = `it is being restarted: ${reason}`;
      }
      link.close(reason);
      this.#say(["closed", index, generation]);
    });
    entry.work = work.catch(() => {});
  }

  /** Tells the inline plugins; those in sandboxes are told by the host. */
  #tellHealth(change: HealthChange): void {
    const { timers } = this.#options;
    for (const [index, entry] of this.#entries) {
      if (entry.loaded === null || !entry.phases.has("upstreamHealth")) continue;
      for (let use = 0; use < entry.loaded.uses.length; use++) {
        const handler = new InlineHandler(entry, use, timers);
        // Each use gets its own, which it may keep and change.
        (async () => await handler.call("upstreamHealth", null, { ...change }))().catch((error) => {
          this.#say(["log", index, "error", describeError(error, 4096), undefined]);
        });
      }
    }
  }

  #startTicks(entry: Entry): void {
    if (this.#ticks) entry.endpoints?.open();
    if (!this.#ticks || entry.loaded === null || entry.stopTicks !== null) return;
    entry.stopTicks = new AbortController();
    runTicks(entry, entry.stopTicks.signal);
  }

  #say(notice: WorkerNotice): void {
    if (!this.#closed) this.#wire.postMessage(notice);
  }
}

/** Whether a request may be told to the plugin more than once. */
function callsOften({ phases }: PluginFacts): boolean {
  const shapes = phases.map(shapeOf).filter(({ session }) => session === "request");
  return shapes.length > 1 || shapes.some(({ extra }) => extra === "chunk");
}

function connectPort(line: Line & { kind: "port" }): Channel {
  const { port, memory } = line;
  return memory === null
    ? new PortChannel(port, MAX_FRAME_FROM_SANDBOX)
    : new RingChannel({ port, memory, side: "caller", most: MAX_FRAME_FROM_SANDBOX });
}

async function connectSocket(line: Line & { kind: "socket" }): Promise<Channel> {
  const connection = await Deno.connect({ transport: "unix", path: line.path });
  const channel = new SocketChannel(connection, MAX_FRAME_FROM_SANDBOX);
  channel.post([HELLO, line.token, "calls"]);
  return channel;
}

async function endEntry(entry: Entry, reason: string): Promise<void> {
  entry.stopTicks?.abort();
  entry.endpoints?.close();
  for (const link of entry.links.values()) link.close(reason);
  if (entry.loaded !== null) await disposeInline(entry.loaded);
}

async function disposeInline(loaded: InlinePlugin): Promise<void> {
  for (const use of loaded.uses) {
    try {
      await loaded.plugin.dispose?.(use.state);
    } catch (error) {
      use.log.error(`dispose failed: ${describeError(error, 4096)}`);
    }
  }
}
