/**
 * The addresses of names, with a memory: an answer that may be a mistake of the server does not count at once.
 *
 * The runtime shows a server that failed as a name that has no addresses. Where one family of addresses is there and
 * the other, known from before, is not, the other one is believed gone only when it is missing again.
 *
 * @module
 */
import type { Run } from "../health/bounded_run.ts";
import type { Family, Lookup } from "./lookup.ts";

/** Which addresses of a name count. */
export type Families = "any" | "ipv4" | "ipv6";

/** What is found of a name. */
export interface NameAnswer {
  /** IPv4 addresses before IPv6 ones; empty: the name has none. */
  readonly addresses: readonly string[];
  /** Milliseconds that they are good for; `Infinity` where only remembered ones are. */
  readonly ttl: number;
  /** If `addresses` is empty: those of last time, unless they have been missing before. */
  readonly remembered: readonly string[];
}

interface Remembered {
  addresses: readonly string[];
  /** Answers in a row without them. */
  missing: number;
}

/** Answers without known addresses that are needed to believe that they are gone. */
const MISSES = 2;

/** Finds the addresses of names. */
export class AddressMemory {
  readonly #lookup: Lookup;
  readonly #families: readonly Family[];
  readonly #known = new Map<string, Remembered>();

  constructor(lookup: Lookup, families: Families) {
    this.#lookup = lookup;
    this.#families = families === "any" ? [4, 6] : families === "ipv4" ? [4] : [6];
  }

  /**
   * Asks for all addresses of a name.
   *
   * @throws {ProxyError} `dns_timeout` or `dns_error`, if no family could be asked for and none is known.
   */
  async find(name: string, run: Run): Promise<NameAnswer> {
    const answers = await Promise.allSettled(
      this.#families.map((family) => this.#lookup.addresses(name, family, run)),
    );
    const addresses: string[] = [];
    const remembered: string[] = [];
    let ttl = Infinity;
    let found = false;
    let failure: unknown = null;
    for (const [index, answer] of answers.entries()) {
      const key = `${this.#families[index]} ${name}`;
      if (answer.status === "rejected") failure ??= answer.reason;
      const value = answer.status === "fulfilled" ? answer.value : null;
      if (value !== null) {
        found = true;
        ttl = Math.min(ttl, value.ttl);
        this.#known.set(key, { addresses: value.addresses, missing: 0 });
        addresses.push(...value.addresses);
        continue;
      }
      const known = this.#known.get(key);
      if (known === undefined) continue;
      // A question without an answer says nothing at all.
      if (answer.status === "fulfilled" && ++known.missing >= MISSES) this.#known.delete(key);
      else remembered.push(...known.addresses);
    }
    if (found) return { addresses: [...addresses, ...remembered], ttl, remembered: [] };
    if (failure !== null) throw failure;
    return { addresses: [], ttl, remembered };
  }

  /** Forgets all names but these. */
  retain(names: ReadonlySet<string>): void {
    for (const key of this.#known.keys()) {
      if (!names.has(key.slice(2))) this.#known.delete(key);
    }
  }
}
