/**
 * Endpoints that plugins find: from what a plugin says to the discovery that waits for it.
 *
 * @module
 */
import type { PluginPort, PluginSource } from "../balancer/discovery/plugin.ts";

/** Hands lists of endpoints from plugins on. */
export class PluginEndpoints {
  readonly #ports = new Map<string, PluginPort>();
  /** The last list of each plugin, for a discovery that begins later. */
  readonly #last = new Map<string, unknown>();

  /** What a discovery listens to. */
  source(plugin: string): PluginSource {
    return (port) => {
      this.#ports.set(plugin, port);
      port.signal.addEventListener("abort", () => {
        if (this.#ports.get(plugin) === port) this.#ports.delete(plugin);
      }, { once: true });
      if (this.#last.has(plugin)) port.push(this.#last.get(plugin));
    };
  }

  /** A plugin has named endpoints. */
  found(plugin: string, list: unknown): void {
    this.#last.set(plugin, list);
    this.#ports.get(plugin)?.push(list);
  }
}
