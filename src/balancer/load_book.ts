/**
 * What is remembered of the members of a group by id: counts, and what an operator has set at run time.
 *
 * A set of members comes and goes with every look-up of a name; the requests that run on them do not.
 *
 * @module
 */
import type { BackendLoad } from "./backend.ts";

/** What is remembered of one member. */
export interface BookEntry {
  readonly load: BackendLoad;
  /** Weight that an operator has set over the configured one, or `null`. */
  weight: number | null;
  /** `false`: an operator has taken it out. */
  enabled: boolean;
  /** How many groups have it as a member: during a reload, the old one and the new. */
  holders: number;
}

/** The entries of one group, handed on to the group that replaces it. */
export class LoadBook {
  readonly #entries = new Map<string, BookEntry>();

  /** How many entries there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** The entry of a member, made if there is none. To be given back by `release`. */
  acquire(id: string): BookEntry {
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      entry = {
        load: { inFlight: 0, ewma: 0, ewmaAt: 0, requests: 0, failures: 0 },
        weight: null,
        enabled: true,
        holders: 0,
      };
      this.#entries.set(id, entry);
    }
    entry.holders++;
    return entry;
  }

  /** Says that the holder has no use for it any more; it is kept as long as requests run on it. */
  release(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.holders--;
    this.forget(id);
  }

  /** The entry of an id, also of one that is no member now; `undefined` if nothing is remembered. */
  peek(id: string): BookEntry | undefined {
    return this.#entries.get(id);
  }

  /** Drops an entry that nobody holds, on which nothing runs and which no operator has changed. */
  forget(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.holders > 0 || entry.load.inFlight > 0) return;
    // A member that was taken out must still be out when discovery brings it back.
    if (entry.enabled && entry.weight === null) this.#entries.delete(id);
  }
}
