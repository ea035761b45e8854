/**
 * Remembers the addresses of names, for as long as the DNS allows and a little longer when it does not answer.
 *
 * An answer that has just run out is still given out while a new one is being asked for, so a slow name server
 * delays no request. When asking fails, the last good answer stays for a while. Connections are not touched: one
 * that works goes on working, whatever the name says now.
 *
 * @module
 */
import { isIP } from "node:net";
import { type Clock, systemClock } from "../base/clock.ts";
import { type ErrorType, ProxyError } from "../base/error.ts";
import { attempt } from "./attempt.ts";
import { reason } from "./io_error.ts";

/** The addresses of a name. */
export interface NameAnswer {
  /** At least one. What is no IP address is a name that only the runtime may look up when it connects. */
  readonly addresses: readonly string[];
  /** Milliseconds for which it holds. */
  readonly ttl: number;
}

/** Addresses by name. Plain data. */
export type NameTable = Readonly<Record<string, readonly string[]>>;

/**
 * Asks for the addresses of a name. Must come to an end by itself.
 *
 * @throws {ProxyError} `dns_error` or `dns_timeout`.
 */
export type NameSource = (host: string) => Promise<NameAnswer>;

/** Bounds of one wait for an answer. */
export interface ResolveOptions {
  /** Milliseconds after which it fails with `dns_timeout`. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@linkcode HostResolver}. Times are milliseconds. */
export interface HostResolverOptions {
  readonly source: NameSource;
  /** Default: the process clock. */
  readonly clock?: Clock;
  /** An answer holds at least so long. Default 1000. */
  readonly minTtl?: number;
  /** And at most so long. Default one hour. */
  readonly maxTtl?: number;
  /** How long a failure holds. Default 5000. */
  readonly negativeTtl?: number;
  /** How long an answer that has run out is given out while a new one is asked for. Default 60 000. */
  readonly staleTime?: number;
  /** How long it is kept for the case that no new one can be had. Default ten minutes. */
  readonly keepTime?: number;
  /** Most names remembered; beyond it the one asked for longest ago is forgotten. Default 1024. */
  readonly maxNames?: number;
  /** Most names asked for at a time. Default 128. */
  readonly maxAsking?: number;
  /** Most addresses kept of a name. Default 64. */
  readonly maxAddresses?: number;
}

/** What {@linkcode HostResolver.stats} tells. */
export interface ResolverStats {
  /** Names remembered. */
  readonly names: number;
  /** Names being asked for. */
  readonly asking: number;
  /** Answered from memory, those that had just run out among them. */
  readonly hits: number;
  /** Answers that had run out when they were given out. */
  readonly stale: number;
  /** Look-ups begun. */
  readonly lookups: number;
  /** Look-ups that failed. */
  readonly failures: number;
}

interface Failure {
  readonly type: ErrorType;
  readonly message: string;
  readonly cause?: unknown;
}

interface Entry {
  addresses: readonly string[] | null;
  failure: Failure | null;
  freshUntil: number;
  /** Until then `addresses` may be given out while a new answer is asked for. */
  staleUntil: number;
  /** Until then they may be given out because no new answer can be had. */
  keptUntil: number;
  asking: Promise<void> | null;
  /** Whether somebody else keeps it up to date: then nobody asks here, and it is not forgotten for room. */
  told: boolean;
}

/** A cache of host names. One per thread; see `resolveHost` for the usual one. */
export class HostResolver {
  readonly #options: Required<HostResolverOptions>;
  /** In the order in which they were last asked for. */
  readonly #entries = new Map<string, Entry>();
  #asking = 0;
  #hits = 0;
  #stale = 0;
  #lookups = 0;
  #failures = 0;

  constructor(options: HostResolverOptions) {
    this.#options = {
      clock: systemClock,
      minTtl: 1_000,
      maxTtl: 3_600_000,
      negativeTtl: 5_000,
      staleTime: 60_000,
      keepTime: 600_000,
      maxNames: 1024,
      maxAsking: 128,
      maxAddresses: 64,
      ...options,
    };
  }

  /**
   * All addresses of a host. An IP literal is its own address. Nothing is waited for if an answer is there.
   *
   * @throws {ProxyError} `dns_error`, `dns_timeout`, or what the signal gives as its reason; at once or later.
   */
  resolve(host: string, options: ResolveOptions): readonly string[] | Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    const name = host.toLowerCase();
    const known = this.#entries.get(name);
    const now = this.#options.clock.now();
    if (known !== undefined) {
      if (now < known.freshUntil) {
        this.#hits++;
        return answerOf(known);
      }
      if (known.addresses !== null && now < known.staleUntil) {
        this.#hits++;
        this.#stale++;
        if (known.asking === null && this.#asking < this.#options.maxAsking) this.#ask(name, known);
        return known.addresses;
      }
    }
    return this.#wait(name, known, options);
  }

  /**
   * Takes the addresses of a name from somebody who keeps looking it up: they hold until others are given, or the name
   * is forgotten.
   *
   * @param addresses None: it is looked up here again.
   */
  put(host: string, addresses: readonly string[]): void {
    const name = host.toLowerCase();
    if (addresses.length === 0) return this.#forget(name);
    const entry = this.#entries.get(name) ?? emptyEntry();
    this.#entries.set(name, entry);
    entry.told = true;
    entry.addresses = addresses.slice(0, this.#options.maxAddresses);
    entry.failure = null;
    entry.freshUntil = entry.staleUntil = entry.keptUntil = Infinity;
  }

  /** Forgets a name, so that it is asked for again; without a name, all. */
  forget(host?: string): void {
    for (const name of host === undefined ? [...this.#entries.keys()] : [host.toLowerCase()]) {
      this.#forget(name);
    }
  }

  /** What is there now and what has happened so far. */
  stats(): ResolverStats {
    return {
      names: this.#entries.size,
      asking: this.#asking,
      hits: this.#hits,
      stale: this.#stale,
      lookups: this.#lookups,
      failures: this.#failures,
    };
  }

  async #wait(
    name: string,
    known: Entry | undefined,
    options: ResolveOptions,
  ): Promise<readonly string[]> {
    const context = `Looking up "${name}"`;
    // Nothing that is too long or holds anything but printable ASCII is in the DNS (RFC 1035 §2.3.4).
    if (name.length === 0 || name.length > 254 || /[^\x21-\x7e]/.test(name)) {
      throw dnsError("dns_error", `${context}: this is no host name`);
    }
    if (known === undefined || known.asking === null) {
      if (this.#asking >= this.#options.maxAsking) {
        throw dnsError(
          "dns_error",
          `${context}: ${this.#asking} names are being looked up already`,
        );
      }
    }
    const entry = known ?? this.#newEntry(name);
    const asking = entry.asking ?? this.#ask(name, entry);
    try {
      await attempt<void>(
        { ...options, timeoutType: "dns_timeout", context },
        (end) => {
          asking.then(() => end.resolve());
          return () => {};
        },
      );
    } catch (error) {
      const isOver = !(error instanceof ProxyError) || error.type !== "dns_timeout";
      if (isOver || entry.addresses === null || this.#options.clock.now() >= entry.keptUntil) {
        throw error;
      }
      this.#stale++;
      return entry.addresses;
    }
    return answerOf(entry);
  }

  #forget(name: string): void {
    const entry = this.#entries.get(name);
    if (entry?.asking === null) this.#entries.delete(name);
  }

  #newEntry(name: string): Entry {
    for (const [oldest, { asking, told }] of this.#entries) {
      if (this.#entries.size < this.#options.maxNames) break;
      if (asking === null && !told) this.#entries.delete(oldest);
    }
    const entry = emptyEntry();
    this.#entries.set(name, entry);
    return entry;
  }

  /** Asks the source. The promise never rejects: the entry tells how it went. */
  #ask(name: string, entry: Entry): Promise<void> {
    this.#lookups++;
    this.#asking++;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    entry.asking = this.#askSource(name).then(
      (answer) => this.#answered(name, entry, answer),
      (error) => this.#failed(name, entry, error),
    ).finally(() => {
      this.#asking--;
      entry.asking = null;
    });
    return entry.asking;
  }

  /** A source that throws at once has failed like any other. */
  async #askSource(name: string): Promise<NameAnswer> {
    return await this.#options.source(name);
  }

  #answered(name: string, entry: Entry, { addresses, ttl }: NameAnswer): void {
    // Who keeps it up to date knows better.
    if (entry.told) return;
    if (addresses.length === 0) {
      return this.#failed(name, entry, dnsError("dns_error", `Looking up "${name}": no address`));
    }
    const { clock, minTtl, maxTtl, staleTime, keepTime, maxAddresses } = this.#options;
    entry.addresses = addresses.slice(0, maxAddresses);
    entry.failure = null;
    // What is not a number is not to be trusted for longer than the least.
    entry.freshUntil = clock.now() + Math.max(minTtl, Math.min(maxTtl, ttl || 0));
    entry.staleUntil = entry.freshUntil + staleTime;
    entry.keptUntil = entry.freshUntil + keepTime;
  }

  #failed(name: string, entry: Entry, error: unknown): void {
    this.#failures++;
    if (entry.told) return;
    const now = this.#options.clock.now();
    entry.freshUntil = now + this.#options.negativeTtl;
    if (entry.addresses !== null && now < entry.keptUntil) {
      // It is known now that asking does not help: nobody should wait for it.
      entry.staleUntil = entry.keptUntil;
      return;
    }
    entry.addresses = null;
    entry.failure = error instanceof ProxyError
      ? error
      : { type: "dns_error", message: `Looking up "${name}": ${reason(error)}`, cause: error };
  }
}

function emptyEntry(): Entry {
  return {
    addresses: null,
    failure: null,
    freshUntil: 0,
    staleUntil: 0,
    keptUntil: 0,
    asking: null,
    told: false,
  };
}

function answerOf({ addresses, failure }: Entry): readonly string[] {
  if (addresses !== null) return addresses;
  // One of its own for each request: an error is changed on its way.
  throw dnsError(failure!.type, failure!.message, failure!.cause);
}

/** A look-up that failed. Nothing was sent, so trying again is safe. */
export function dnsError(
  type: ErrorType,
  message: string,
  cause?: unknown,
): ProxyError {
  return new ProxyError(type, message, {
    source: "upstream",
    retry: true,
    ...(cause === undefined ? {} : { cause }),
  });
}
