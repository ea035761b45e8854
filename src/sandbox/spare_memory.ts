/**
 * Memory of channels whose two threads are done with it, kept for those that come.
 *
 * Memory that threads share is free only when each of them has collected its garbage, which a thread that has little to
 * do hardly ever does: a program whose plugins are replaced now and then would grow by half a megabyte for each service
 * worker and replacement. So it is used again, and only for the plugin that had it: what code has seen, no other's is.
 *
 * @module
 */
import { makeChannelMemory, resetChannelMemory } from "./ring_channel.ts";

/** Memory that two threads have, and who had it. */
export class MemoryLease {
  readonly plugin: string;
  readonly memory: SharedArrayBuffer;
  readonly #onFree: (lease: MemoryLease) => void;
  #users = 2;

  constructor(plugin: string, memory: SharedArrayBuffer, onFree: (lease: MemoryLease) => void) {
    this.plugin = plugin;
    this.memory = memory;
    this.#onFree = onFree;
  }

  /** One of the two threads will never touch it again. To be called once for each. */
  leave(): void {
    if (--this.#users === 0) this.#onFree(this);
  }
}

/** Memory to be used again, by plugin. */
export class SpareMemory {
  readonly #free = new Map<string, SharedArrayBuffer[]>();

  /** How many there are for a plugin. */
  count(plugin: string): number {
    return this.#free.get(plugin)?.length ?? 0;
  }

  /** Memory for a channel, as good as new; `null` where threads share none. */
  take(plugin: string): SharedArrayBuffer | null {
    const memory = this.#free.get(plugin)?.pop();
    if (memory === undefined) return makeChannelMemory();
    resetChannelMemory(memory);
    return memory;
  }

  /**
   * Nobody uses this any more.
   *
   * @param most How many a plugin may have; more are left to the garbage collector.
   */
  give(plugin: string, memory: SharedArrayBuffer, most: number): void {
    const free = this.#free.get(plugin) ?? [];
    if (free.length >= most) return;
    free.push(memory);
    this.#free.set(plugin, free);
  }

  /** Only these plugins can still want any. */
  keep(plugins: ReadonlySet<string>): void {
    for (const name of this.#free.keys()) if (!plugins.has(name)) this.#free.delete(name);
  }
}
