/**
 * Where the names of upstreams lead, for as long as the program runs: looked up again whenever an answer has run out,
 * and told to the service workers, which may connect to what they have been granted and to nothing else.
 *
 * When a name leads to an address that the workers may not reach yet, others with that right take their place. An
 * address stays granted for an hour after it was last in an answer, so a name that leads to other addresses in turn
 * soon needs no further worker. While a name still leads to some that may be reached there is no hurry; when it leads
 * to none of them, it is followed at once, and the workers go on with the addresses before until the others serve. The
 * longer such changes go on, the rarer they are followed.
 *
 * @module
 */
import { type Clock, systemClock } from "../base/clock.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import { literal, type Logger } from "../observe/log.ts";
import { formatAddress } from "../transport/address.ts";
import { reason } from "../transport/io_error.ts";
import type { NameSource, NameTable } from "../transport/resolver.ts";

/** A name that is to be reached, and at which ports. */
export type WantedNames = ReadonlyMap<string, ReadonlySet<number>>;

/** What service workers are to reach. */
export interface NameReach {
  readonly wanted: WantedNames;
  /** Whether they may reach an address whether or not a name leads to it. */
  readonly anyway: (host: string, port: number) => boolean;
}

/** What a {@linkcode NameWatch} is made from. */
export interface NameWatchOptions {
  readonly source: NameSource;
  readonly wheel: TimerWheel;
  /** The clock of the wheel. */
  readonly clock?: Clock;
  readonly log: Logger;
  /** Tells the workers that serve. */
  readonly tell: (names: NameTable) => void;
  /** Puts workers with the rights of {@linkcode NameWatch.rights} in the place of those that serve. */
  readonly replace: () => Promise<void>;
}

/** Names watched; those beyond are reached by name, which the runtime then looks up. */
export const MOST_NAMES = 256;
/** Addresses of one name that are granted; the one not seen for longest goes first. */
const MOST_ADDRESSES = 64;
/** How long the first answers are waited for, in milliseconds. */
const FIRST_ANSWER = 2_000;
/** How long an endpoint that was found waits until workers may reach it, and between two looks at that. */
const MOST_WAIT = 5_000;
const LOOK = 50;
/** Bounds of the time for which an answer holds, and for which a failure does. */
const MIN_TTL = 1_000;
const MAX_TTL = 3_600_000;
const FAILURE_TTL = 5_000;
/** How long an address that is in no answer any more stays granted. */
const MEMORY = 3_600_000;
/** Between two replacements of the workers, in milliseconds; doubled by each that follows on another, up to the most. */
const URGENT_PAUSE = { first: 1_000, most: 60_000 } as const;
const PAUSE = { first: 10_000, most: 600_000 } as const;

interface Watched {
  readonly host: string;
  ports: ReadonlySet<number>;
  /** What the last good answer said. */
  addresses: readonly string[];
  /** What workers are told: `addresses`, as soon as they may reach some of them. */
  told: readonly string[];
  /** When each address was last in an answer. */
  readonly seen: Map<string, number>;
  readonly due: Deadline;
  failing: boolean;
  /** Whether workers have been made since it is watched: those that come first bring what they need. */
  served: boolean;
  /** Resolves with the first answer or failure. */
  readonly first: PromiseWithResolvers<void>;
}

/** Looks names up, and follows where they lead. */
export class NameWatch {
  readonly #options: NameWatchOptions;
  readonly #clock: Clock;
  readonly #names = new Map<string, Watched>();
  /** What the workers that serve may reach, as `ip:port`, and what else. */
  #granted = new Set<string>();
  #anyway: NameReach["anyway"] = () => false;
  readonly #pause = new Deadline(() => void this.#replaceNow());
  #replacing = false;
  #replacedAt = -Infinity;
  /** Replacements that followed on each other. */
  #inRow = 0;
  #stopped = false;

  constructor(options: NameWatchOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** What a worker that begins now has to know. */
  get table(): NameTable {
    return Object.fromEntries(
      [...this.#names.values()].filter(({ told }) => told.length > 0)
        .map(({ host, told }) => [host, told]),
    );
  }

  /**
   * Sets the names to watch. Those that stay keep what is known of them.
   *
   * @param served Whether the workers that serve are to reach the new ones; else others come that are made for them.
   * @returns When there is a first answer for each, or when it took too long.
   */
  async update(wanted: WantedNames, served: boolean): Promise<void> {
    for (const [host, { due }] of this.#names) {
      if (wanted.has(host)) continue;
      this.#options.wheel.cancel(due);
      this.#names.delete(host);
    }
    for (const [host, ports] of wanted) {
      const known = this.#names.get(host);
      if (known !== undefined) {
        known.ports = ports;
        if (known.addresses.length > 0) this.#follow(known);
      } else if (this.#names.size < MOST_NAMES) this.#add(host, ports, served);
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      Promise.all([...this.#names.values()].map(({ first }) => first.promise)),
      new Promise((resolve) => timer = setTimeout(resolve, FIRST_ANSWER)),
    ]);
    clearTimeout(timer);
  }

  /** Resolves when the workers may reach some address of each name that has one, or when that took too long. */
  async reachable(): Promise<void> {
    const reached = () =>
      [...this.#names.values()].every(({ addresses, told }) =>
        addresses.length === 0 || told.length > 0
      );
    const end = this.#clock.now() + MOST_WAIT;
    while (!reached() && !this.#stopped && this.#clock.now() < end) {
      await new Promise<void>((resolve) => {
        const deadline = new Deadline(resolve);
        this.#options.wheel.arm(deadline, LOOK);
      });
    }
  }

  /** Whether a name is watched. */
  has(host: string): boolean {
    return this.#names.has(host);
  }

  /** Rights for the addresses that names lead to, or have led to lately, as `ip:port`. */
  rights({ wanted, anyway }: NameReach): readonly string[] {
    const now = this.#clock.now();
    const rights = new Set<string>();
    for (const [host, ports] of wanted) {
      const seen = this.#names.get(host)?.seen ?? new Map<string, number>();
      for (const [address, at] of seen) {
        if (now - at > MEMORY) {
          seen.delete(address);
          continue;
        }
        for (const port of ports) if (!anyway(address, port)) rights.add(rightTo(address, port));
      }
    }
    return [...rights];
  }

  /** The workers that serve from now on have these rights; what they are told is in `table`. */
  granted(rights: readonly string[], { anyway }: NameReach): void {
    this.#granted = new Set(rights);
    this.#anyway = anyway;
    for (const watched of this.#names.values()) {
      watched.served = true;
      if (watched.addresses.some((one) => this.#mayReach(watched, one))) {
        watched.told = watched.addresses;
      }
    }
  }

  /** Lets go of the wheel. */
  stop(): void {
    this.#stopped = true;
    this.#options.wheel.cancel(this.#pause);
    for (const { due } of this.#names.values()) this.#options.wheel.cancel(due);
  }

  #add(host: string, ports: ReadonlySet<number>, served: boolean): void {
    const watched: Watched = {
      host,
      ports,
      addresses: [],
      told: [],
      seen: new Map(),
      due: new Deadline(() => void this.#ask(watched)),
      failing: false,
      served,
      first: Promise.withResolvers<void>(),
    };
    this.#names.set(host, watched);
    void this.#ask(watched);
  }

  async #ask(watched: Watched): Promise<void> {
    const { source, wheel, log } = this.#options;
    const { host } = watched;
    let ttl = FAILURE_TTL;
    try {
      const answer = await source(host);
      ttl = Math.max(MIN_TTL, Math.min(MAX_TTL, answer.ttl || 0));
      if (this.#names.get(host) !== watched || this.#stopped) return;
      if (watched.failing) log.info(`Upstream host ${host} can be looked up again`);
      watched.failing = false;
      this.#answered(watched, answer.addresses);
    } catch (error) {
      if (this.#names.get(host) !== watched || this.#stopped) return;
      if (!watched.failing) {
        log.warn(
          `Upstream host ${host} cannot be looked up: ${
            literal(reason(error))
          }; the ${watched.addresses.length} addresses that are known stay`,
        );
      }
      watched.failing = true;
    } finally {
      watched.first.resolve();
    }
    wheel.arm(watched.due, ttl);
  }

  #answered(watched: Watched, addresses: readonly string[]): void {
    const now = this.#clock.now();
    for (const address of addresses.slice(0, MOST_ADDRESSES)) {
      watched.seen.delete(address);
      watched.seen.set(address, now);
    }
    while (watched.seen.size > MOST_ADDRESSES) {
      watched.seen.delete(watched.seen.keys().next().value!);
    }
    if (sameSet(addresses, watched.addresses)) return;
    watched.addresses = [...addresses];
    this.#follow(watched);
  }

  /** Tells the workers where a name leads now, as far as they may go there; others must come for the rest. */
  #follow(watched: Watched): void {
    const { host, addresses } = watched;
    const reached = addresses.filter((address) => this.#mayReach(watched, address));
    if (reached.length > 0 && watched.told !== addresses) {
      watched.told = addresses;
      this.#options.tell({ [host]: addresses });
    }
    if (watched.served && reached.length < addresses.length) this.#wish(reached.length === 0);
  }

  #mayReach({ ports }: Watched, address: string): boolean {
    for (const port of ports) {
      if (!this.#granted.has(rightTo(address, port)) && !this.#anyway(address, port)) return false;
    }
    return true;
  }

  /** Others are to take the place of the workers, as soon as that may be. */
  #wish(urgent: boolean): void {
    const { wheel } = this.#options;
    if (this.#replacing || this.#stopped) return;
    const since = this.#clock.now() - this.#replacedAt;
    if (since > PAUSE.most) this.#inRow = 0;
    const { first, most } = urgent ? URGENT_PAUSE : PAUSE;
    const wait = Math.max(0, Math.min(most, first * 2 ** this.#inRow) - since);
    if (this.#pause.armed && !urgent) return;
    wheel.cancel(this.#pause);
    if (wait === 0) void this.#replaceNow();
    else wheel.arm(this.#pause, wait);
  }

  async #replaceNow(): Promise<void> {
    if (this.#replacing || this.#stopped) return;
    this.#replacing = true;
    const replaced = await this.#tryReplace();
    this.#replacing = false;
    if (!replaced) return;
    // Names may lead elsewhere by now.
    for (const watched of this.#names.values()) this.#follow(watched);
  }

  /** Returns whether there was a reason to. */
  async #tryReplace(): Promise<boolean> {
    const { log, replace, tell } = this.#options;
    const missing = [...this.#names.values()].filter((watched) =>
      watched.served && watched.addresses.some((address) => !this.#mayReach(watched, address))
    );
    if (missing.length === 0) return false;
    log.info(
      `Other service workers take over, because names of upstreams lead to addresses that these may not reach`,
      {
        names: missing.slice(0, 20).map(({ host, addresses }) =>
          `${host}: ${addresses.slice(0, 20).join(" ")}`
        ),
      },
    );
    try {
      await replace();
      tell(this.table);
    } catch (error) {
      log.error("Service workers could not be replaced; they go on as they are", { error });
    } finally {
      this.#replacedAt = this.#clock.now();
      this.#inRow++;
    }
    return true;
  }
}

function rightTo(host: string, port: number): string {
  return formatAddress({ kind: "tcp", host, port });
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one));
}
