/**
 * The listening sockets of the program, held open by the main thread.
 *
 * Service workers share one accept queue with it, so a port is known before a worker starts, a port that is taken
 * is told at once, and while a worker is replaced its connections wait instead of being refused.
 *
 * @module
 */
import type { Config, ListenerConfig } from "../config/types.ts";
import { type HeldPort, holdPort } from "../transport/hold.ts";

/** Sockets that are bound and accept nothing here. */
export class HeldListeners {
  /** The config with the ports that were found for port 0. */
  readonly config: Config;
  readonly #held: HeldPort[];

  private constructor(config: Config, held: HeldPort[]) {
    this.config = config;
    this.#held = held;
  }

  /**
   * Binds every TCP listener of a config.
   *
   * @throws {ProxyError} `bind_error`: which listener cannot listen, and why.
   */
  static bind(config: Config): HeldListeners {
    const held: HeldPort[] = [];
    const listeners: ListenerConfig[] = [];
    try {
      for (const listener of config.listeners) {
        if (listener.address.kind === "unix") {
          listeners.push(listener);
          continue;
        }
        const bound = holdPort(listener.name, listener.address, listener.backlog);
        held.push(bound);
        listeners.push({ ...listener, address: bound.address });
      }
    } catch (error) {
      for (const one of held) one.close();
      throw error;
    }
    return new HeldListeners({ ...config, listeners }, held);
  }

  /** Lets go of them; harmless when that has been done. */
  close(): void {
    for (const one of this.#held.splice(0)) one.close();
  }
}
