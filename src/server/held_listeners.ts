/**
 * The listening sockets of the program, held open by the main thread.
 *
 * Service workers share one accept queue with it, so a port is known before a worker starts, a port that is taken
 * is told at once, and while a worker is replaced its connections wait instead of being refused.
 *
 * @module
 */
import { same } from "../base/same.ts";
import type { Config, ListenerConfig } from "../config/types.ts";
import type { TcpAddress } from "../transport/address.ts";
import type { InheritedSockets } from "./inherited.ts";
import type { OwnSocket } from "./upgrade.ts";
import { checkUnixPath, type HeldPort, holdHandlePort, holdPort } from "../transport/hold.ts";

interface Held {
  /** Of the listener. */
  readonly name: string;
  /** As the config has it: port `0` stands for the one that was found. */
  readonly written: TcpAddress;
  readonly engine: ListenerConfig["engine"];
  readonly port: HeldPort;
}

/** The sockets of another edition of the config. Exactly one of the two must follow. */
export interface HeldChange {
  /** The config with the ports that were found for port 0. */
  readonly config: Config;
  /** Addresses by which listeners are listened on in this process, where those are not their own. */
  readonly binds: Readonly<Record<string, TcpAddress>>;
  /** Lets go of the sockets that it does not have any more. To be called when nobody accepts on them. */
  commit(): void;
  /** Lets go of the sockets that were bound for it. */
  abort(): void;
}

/** Sockets that are bound and accept nothing here. */
export class HeldListeners {
  readonly #inherited: InheritedSockets | null;
  readonly #joins: boolean;
  #held: readonly Held[] = [];
  /** Unix sockets that service workers listen on, or the process that leaves. */
  #paths: ReadonlySet<string>;

  /**
   * @param inherited Sockets to listen on instead of binding.
   * @param paths Unix sockets that may be taken over.
   * @param joins Whether another process of ours may still listen on the ports of engine `handle`.
   */
  constructor(
    inherited: InheritedSockets | null = null,
    paths: readonly string[] = [],
    joins: boolean = false,
  ) {
    this.#inherited = inherited;
    this.#joins = joins;
    this.#paths = new Set(paths);
  }

  /** The sockets, for a process that takes over. */
  get sockets(): OwnSocket[] {
    // Those of engine handle are shared without being handed over: each process binds its own.
    const inheritable = this.#held.filter(({ engine }) => engine === "deno");
    return inheritable.map(({ name, port: { address, ip } }) => ({
      name,
      address: { ...address, host: ip },
    }));
  }

  /** The unix sockets, for a process that takes over. */
  get paths(): readonly string[] {
    return [...this.#paths];
  }

  /**
   * Binds every TCP listener of a config that is not bound already. Ports that were found for port 0 stay.
   *
   * @throws {ProxyError} `bind_error`: which listener cannot listen, and why. Nothing has changed then.
   */
  async prepare(config: Config): Promise<HeldChange> {
    const fresh: Held[] = [];
    const next: Held[] = [];
    const paths = new Set<string>();
    const listeners: ListenerConfig[] = [];
    const abort = () => {
      for (const { port } of fresh.splice(0)) port.close();
    };
    try {
      for (const listener of config.listeners) {
        const { name, address, engine } = listener;
        if (address.kind === "unix") {
          // A service worker binds it. That it can is found out before anything has changed.
          if (!this.#paths.has(address.path)) await checkUnixPath(name, address);
          listeners.push(listener);
          paths.add(address.path);
          continue;
        }
        let held = this.#find(name, address, engine);
        if (held === undefined) {
          held = { name, written: address, engine, port: this.#hold(listener, address) };
          fresh.push(held);
        }
        next.push(held);
        listeners.push({ ...listener, address: held.port.address });
      }
    } catch (error) {
      abort();
      throw error;
    }
    const foreign = next.filter(({ port }) => port.bound !== port.address);
    return {
      config: { ...config, listeners },
      binds: Object.fromEntries(
        config.listeners.flatMap(({ name }, i) => {
          const { address } = listeners[i]!;
          const held = foreign.find(({ port }) => port.address === address);
          return held === undefined ? [] : [[name, held.port.bound]];
        }),
      ),
      commit: () => {
        for (const held of this.#held) if (!next.includes(held)) held.port.close();
        this.#held = next;
        this.#paths = paths;
      },
      abort,
    };
  }

  /** Lets go of them; harmless when that has been done. */
  close(): void {
    for (const { port } of this.#held) port.close();
    this.#held = [];
  }

  /** Listeners with the ports that were found for their port 0, where they have been. */
  known(listeners: readonly ListenerConfig[]): ListenerConfig[] {
    return listeners.map((listener) => {
      const { name, address, engine } = listener;
      const held = address.kind === "tcp" ? this.#find(name, address, engine) : undefined;
      return held === undefined ? listener : { ...listener, address: held.port.address };
    });
  }

  #hold({ name, backlog, engine }: ListenerConfig, address: TcpAddress): HeldPort {
    if (engine === "handle") return holdHandlePort(name, address, this.#joins);
    const inherited = this.#inherited?.take(name, address) ?? null;
    return inherited ?? holdPort(name, address, backlog);
  }

  #find(
    name: string,
    address: TcpAddress,
    engine: ListenerConfig["engine"],
  ): Held | undefined {
    const fitting = this.#held.filter((held) => held.engine === engine);
    return fitting.find((held) => held.name === name && same(held.written, address)) ??
      fitting.find((held) => same(held.port.address, address));
  }
}
