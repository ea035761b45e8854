/**
 * The listening sockets of the program, held open by the main thread.
 *
 * Service workers share one accept queue with it, so a port is known before a worker starts, a port that is taken
 * is told at once, and while a worker is replaced its connections wait instead of being refused. Those that listen with
 * native handles are lent a descriptor of it.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { same } from "../base/same.ts";
import type { Config, ListenerConfig } from "../config/types.ts";
import { formatAddress, type TcpAddress } from "../transport/address.ts";
import { HandedSockets } from "../transport/handed_sockets.ts";
import { claim, isClaimed, type Loan, loan } from "../transport/loan.ts";
import type { InheritedSockets } from "./inherited.ts";
import type { OwnSocket } from "./upgrade.ts";
import { checkUnixPath, type HeldPort, holdHandlePort, holdPort } from "../transport/hold.ts";

interface Held {
  /** Of the listener. */
  readonly name: string;
  /** As the config has it: port `0` stands for the one that was found. */
  readonly written: TcpAddress;
  /** Whether all who listen on it share its accept queue. */
  readonly shared: boolean;
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
  /** `undefined`: nobody has needed it yet; `null`: nothing can be lent, and each native handle has its own queue. */
  #lender: HandedSockets | null | undefined;
  /** What service workers were lent and may not have used yet. */
  readonly #lent = new Map<object, readonly Loan[]>();
  #held: readonly Held[] = [];
  /** Of the config that may follow. */
  #next: readonly Held[] = [];
  /** Unix sockets that service workers listen on, or the process that leaves. */
  #paths: ReadonlySet<string>;
  #closed = false;

  /**
   * @param inherited Sockets to listen on instead of binding.
   * @param paths Unix sockets that may be taken over.
   */
  constructor(inherited: InheritedSockets | null = null, paths: readonly string[] = []) {
    this.#inherited = inherited;
    this.#paths = new Set(paths);
  }

  /** The sockets, for a process that takes over. */
  get sockets(): OwnSocket[] {
    const inheritable = this.#held.filter(({ shared }) => shared);
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
      this.#next = [];
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
        const shared = this.#shares(engine);
        let held = this.#find(name, address, shared);
        if (held === undefined) {
          this.#checkEngine(listener, address);
          held = { name, written: address, shared, port: this.#hold(listener, address) };
          fresh.push(held);
        }
        next.push(held);
        listeners.push({ ...listener, address: held.port.address });
      }
    } catch (error) {
      abort();
      throw error;
    }
    this.#next = next;
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
        // The program ends; what was bound before is let go of already.
        if (this.#closed) return abort();
        for (const held of this.#held) if (!next.includes(held)) held.port.close();
        this.#held = next;
        this.#next = [];
        this.#paths = paths;
      },
      abort,
    };
  }

  /** Lets go of them; harmless when that has been done. */
  close(): void {
    this.#closed = true;
    for (const { port } of this.#held) port.close();
    this.#held = [];
    for (const borrower of [...this.#lent.keys()]) this.takeBack(borrower);
    this.#lender?.unload();
    this.#lender = undefined;
  }

  /**
   * A descriptor of a socket that is held, for a service worker to listen on.
   *
   * @param bound By which it is listened on in this process.
   * @param borrower Who is to use it up; when it is no more, `takeBack` has to follow.
   * @returns `null` if each has to bind a socket of its own.
   * @throws {Error} If there is no such socket, or no descriptor left.
   */
  lend(bound: TcpAddress, borrower: object): Loan | null {
    if (!this.#shares("handle")) return null;
    const held = [...this.#held, ...this.#next].find(({ port }) => same(port.bound, bound));
    if (held === undefined) throw new Error(`${formatAddress(bound)} is not held any more`);
    const { address, ip } = held.port;
    const lent = loan(this.#lender!.lend({ ...address, host: ip }));
    const open = this.#lent.get(borrower)?.filter((earlier) => !isClaimed(earlier)) ?? [];
    this.#lent.set(borrower, [...open, lent]);
    return lent;
  }

  /** Closes what a borrower, which is no more, was lent and has not used. */
  takeBack(borrower: object): void {
    for (const lent of this.#lent.get(borrower) ?? []) {
      if (claim(lent)) this.#lender!.close(lent.descriptor);
    }
    this.#lent.delete(borrower);
  }

  /** Listeners with the ports that were found for their port 0, where they have been. */
  known(listeners: readonly ListenerConfig[]): ListenerConfig[] {
    return listeners.map((listener) => {
      const { name, address, engine } = listener;
      const held = address.kind === "tcp"
        ? this.#find(name, address, this.#shares(engine))
        : undefined;
      return held === undefined ? listener : { ...listener, address: held.port.address };
    });
  }

  #hold({ name, backlog, engine }: ListenerConfig, address: TcpAddress): HeldPort {
    if (!this.#shares(engine)) return holdHandlePort(name, address);
    const inherited = this.#inherited?.take(name, address) ?? null;
    return inherited ?? holdPort(name, address, backlog);
  }

  #shares(engine: ListenerConfig["engine"]): boolean {
    if (engine !== "handle") return true;
    if (this.#lender === undefined) this.#lender = HandedSockets.load();
    return this.#lender !== null;
  }

  /** Without the right to lend descriptors, the engines cannot have one port at the same time. */
  #checkEngine({ name, engine }: ListenerConfig, address: TcpAddress): void {
    if (this.#find(name, address, !this.#shares(engine)) === undefined) return;
    throw new ProxyError(
      "bind_error",
      `Listener "${name}" cannot change to engine ${engine} on ${
        formatAddress(address)
      } while it serves: that needs Linux and --allow-ffi. Restart the program, or let it listen on another port`,
      { source: "internal" },
    );
  }

  #find(name: string, address: TcpAddress, shared: boolean): Held | undefined {
    const fitting = this.#held.filter((held) => held.shared === shared);
    return fitting.find((held) => held.name === name && same(held.written, address)) ??
      fitting.find((held) => same(held.port.address, address));
  }
}
