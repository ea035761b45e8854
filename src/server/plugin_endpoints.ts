/**
 * Endpoints that plugins name: from what a plugin says to the discoveries that wait for it.
 *
 * @module
 */
import type { PluginPort, PluginSource } from "../balancer/discovery/plugin.ts";
import type { Config } from "../config/types.ts";
import type { Logger } from "../observe/log.ts";

/** What is known of one plugin that is a discovery. */
interface Finder {
  /** One for each upstream that it finds the endpoints of. */
  readonly ports: Set<PluginPort>;
  /** Its last list, for a discovery that begins later. */
  last: { readonly list: unknown } | null;
}

/** Hands lists of endpoints from plugins on. */
export class PluginEndpoints {
  readonly #finders = new Map<string, Finder>();
  /** Plugins that name endpoints although nobody asks for them, and were told so. */
  readonly #told = new Set<string>();
  readonly #log: Logger;

  /** @param upstreams Those of the config: plugins that are the discovery of none of them are not listened to. */
  constructor(upstreams: Config["upstreams"], log: Logger) {
    this.#log = log;
    this.add(upstreams);
  }

  /** Listens to the plugins that these upstreams ask, too. */
  add(upstreams: Config["upstreams"]): void {
    for (const name of findersOf(upstreams)) {
      if (!this.#finders.has(name)) this.#finders.set(name, { ports: new Set(), last: null });
    }
  }

  /** Listens only to the plugins that these upstreams ask. */
  keep(upstreams: Config["upstreams"]): void {
    const names = findersOf(upstreams);
    for (const name of this.#finders.keys()) if (!names.has(name)) this.#finders.delete(name);
  }

  /** What a discovery listens to. */
  source(plugin: string): PluginSource {
    return (port) => {
      const finder = this.#finders.get(plugin);
      if (finder === undefined) return;
      finder.ports.add(port);
      port.signal.addEventListener("abort", () => finder.ports.delete(port), { once: true });
      if (finder.last !== null) port.push(finder.last.list);
    };
  }

  /** A plugin has named endpoints. */
  found(plugin: string, list: unknown): void {
    const finder = this.#finders.get(plugin);
    if (finder === undefined) return this.#refuse(plugin);
    finder.last = { list };
    for (const port of [...finder.ports]) port.push(list);
  }

  #refuse(plugin: string): void {
    if (this.#told.has(plugin)) return;
    this.#told.add(plugin);
    this.#log.warn(
      `Plugin ${plugin} names endpoints, but no upstream has "type: plugin" and "plugin: ${plugin}" in its discovery`,
      { plugin },
    );
  }
}

/** Names of the plugins that are the discovery of an upstream. */
function findersOf(upstreams: Config["upstreams"]): Set<string> {
  return new Set(
    upstreams.flatMap(({ discovery }) =>
      discovery?.source.type === "plugin" ? [discovery.source.plugin] : []
    ),
  );
}
