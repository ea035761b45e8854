/**
 * How many names may be asked for in a second: by all clients together, and by each of them, so that the made-up names
 * of one leave something for the real ones of others.
 *
 * @module
 */

/** What a {@linkcode LookupBudget} gives out. */
export interface LookupRates {
  /** Per second, for all clients together. */
  readonly lookupsPerSecond: number;
  /** Per second, for one client. */
  readonly lookupsPerClient: number;
}

/** What there was not enough of; `null`: it may be asked. */
export type LookupRefusal = "all" | "client" | null;

interface Bucket {
  tokens: number;
  /** When it had so many, in milliseconds. */
  at: number;
}

/** Buckets that hold what may be asked for in one second, and fill as time goes by. */
export class LookupBudget {
  readonly #rates: LookupRates;
  readonly #now: () => number;
  readonly #all: Bucket;
  /** Those that are not full, the one that was used last at the end. Each stands for something taken from all. */
  readonly #clients = new Map<string, Bucket>();

  /** @param now Milliseconds. */
  constructor(rates: LookupRates, now: () => number) {
    this.#rates = rates;
    this.#now = now;
    this.#all = { tokens: burst(rates.lookupsPerSecond), at: now() };
  }

  /** How many clients are remembered. */
  get clients(): number {
    return this.#clients.size;
  }

  /**
   * Takes a lookup, if there is one.
   *
   * @param client Who wants it; `null`: nobody in particular, and only what all have counts.
   */
  take(client: string | null): LookupRefusal {
    const { lookupsPerSecond, lookupsPerClient } = this.#rates;
    const now = this.#now();
    this.#forget(now);
    fill(this.#all, lookupsPerSecond, now);
    if (client === null) return this.#takeOfAll();
    const known = this.#clients.get(client);
    const own = known ?? { tokens: burst(lookupsPerClient), at: now };
    fill(own, lookupsPerClient, now);
    if (own.tokens < 1) return "client";
    const refusal = this.#takeOfAll();
    if (refusal !== null) return refusal;
    own.tokens--;
    this.#clients.delete(client);
    this.#clients.set(client, own);
    return null;
  }

  /**
   * Takes a lookup for a name that was found before, if need be of what is to come: new names wait for it, and so cannot
   * keep known ones from being asked for again.
   */
  renew(): LookupRefusal {
    const { lookupsPerSecond } = this.#rates;
    fill(this.#all, lookupsPerSecond, this.#now());
    if (this.#all.tokens < 1 - burst(lookupsPerSecond)) return "all";
    this.#all.tokens--;
    return null;
  }

  #takeOfAll(): LookupRefusal {
    if (this.#all.tokens < 1) return "all";
    this.#all.tokens--;
    return null;
  }

  /** Forgets clients whose buckets are full by now. */
  #forget(now: number): void {
    const rate = this.#rates.lookupsPerClient;
    const full = burst(rate) / rate * 1000;
    for (const [client, { at }] of this.#clients) {
      // A clock may be set back.
      if (at <= now && now - at < full) return;
      this.#clients.delete(client);
    }
  }
}

function burst(rate: number): number {
  return Math.max(1, rate);
}

function fill(bucket: Bucket, rate: number, now: number): void {
  const filled = Math.max(0, now - bucket.at) / 1000 * rate;
  bucket.tokens = Math.min(burst(rate), bucket.tokens + filled);
  bucket.at = now;
}
