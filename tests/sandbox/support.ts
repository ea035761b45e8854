/**
 * What the tests of the sandbox share.
 *
 * @module
 */
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { connectPlugins, type PluginConnections } from "../../src/sandbox/connect.ts";
import { PluginHost, type PluginHostOptions } from "../../src/sandbox/host.ts";
import type { PluginEvent } from "../../src/sandbox/runner.ts";
import type { PluginSpec } from "../../src/sandbox/spec.ts";
import type { PhaseHandler } from "../../src/plugin/handler.ts";

export type Isolation = PluginSpec["isolation"];

/** The levels that hold something back. */
export const SANDBOXES: readonly Isolation[] = ["worker", "process"];

/** The path of a fixture. */
export function fixture(name: string): string {
  return decodeURIComponent(new URL(`./fixtures/${name}`, import.meta.url).pathname);
}

/** A plugin as the configuration would name it. */
export function specOf(
  file: string,
  isolation: Isolation,
  more: Partial<PluginSpec> = {},
): PluginSpec {
  const path = file.startsWith("/") ? file : fixture(file);
  const isFolder = /\/mod\.[jt]s$/.test(path);
  return {
    name: path.replace(/\/mod\.[jt]s$/, "").replace(/^.*\//, "").replace(/\.[jt]s$/, "")
      .replaceAll("_", "-"),
    file: path,
    root: isFolder ? path.slice(0, path.lastIndexOf("/")) : path,
    isolation,
    grant: {},
    onError: null,
    timeout: null,
    heap: null,
    loadTimeout: 60_000,
    uses: [{ config: undefined, source: null }],
    ...more,
  };
}

/** Plugins that run, with a service worker's end in this very thread. */
export class Bench implements AsyncDisposable {
  readonly host: PluginHost;
  readonly plugins: PluginConnections;
  readonly events: PluginEvent[];
  readonly #timers: TimerWheel;
  readonly #waiting: Set<() => void>;

  constructor(
    host: PluginHost,
    plugins: PluginConnections,
    events: PluginEvent[],
    timers: TimerWheel,
    waiting: Set<() => void>,
  ) {
    this.host = host;
    this.plugins = plugins;
    this.events = events;
    this.#timers = timers;
    this.#waiting = waiting;
  }

  handler(plugin = 0, use = 0): PhaseHandler {
    return this.plugins.handler(plugin, use);
  }

  /** Resolves with the next event that fits, or with one that was there already. */
  async event(fits: (event: PluginEvent) => boolean): Promise<PluginEvent> {
    for (;;) {
      const found = this.events.find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plugins.close();
    await this.host.close();
    this.#timers.close();
  }
}

/** Starts plugins. */
export async function start(
  plugins: readonly PluginSpec[],
  options: Partial<PluginHostOptions> = {},
): Promise<Bench> {
  const events: PluginEvent[] = [];
  const waiting = new Set<() => void>();
  const host = await PluginHost.start({
    plugins,
    ...options,
    onEvent: (event) => {
      events.push(event);
      for (const wake of waiting) wake();
      waiting.clear();
    },
  });
  const timers = new TimerWheel();
  const connections = await connectPlugins(host.connect(), { timers });
  return new Bench(host, connections, events, timers, waiting);
}
