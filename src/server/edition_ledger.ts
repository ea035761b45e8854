/**
 * Who still has requests of which edition of the config. What only an edition needs that nobody has any more can go.
 *
 * @module
 */

/** What an {@linkcode EditionLedger} takes. */
export interface LedgerOptions {
  /** Called with the slots of plugins that no edition needs any more. */
  readonly onUnused: (slots: readonly number[]) => void;
}

interface Entry<Holder> {
  readonly slots: readonly number[];
  readonly holders: Set<Holder>;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Editions, and who has them. */
export class EditionLedger<Holder> {
  readonly #options: LedgerOptions;
  /** In the order of their numbers. */
  readonly #entries = new Map<number, Entry<Holder>>();
  #current = 0;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /** Numbers of the editions that somebody has, or that serve. */
  get editions(): number[] {
    return [...this.#entries.keys()];
  }

  /** Adds an edition that is about to be made ready. */
  open(number: number, slots: readonly number[]): void {
    this.#entries.set(number, { slots, holders: new Set(), timer: undefined });
  }

  /**
   * This edition serves from now on.
   *
   * @param timeout Milliseconds after which the plugins of those before it go, whoever has them.
   * @param most How many of those before it keep their plugins at a time; the oldest lose them first.
   */
  serve(number: number, timeout: number, most: number): void {
    this.#current = number;
    for (const [old, entry] of this.#entries) {
      if (old >= number) continue;
      entry.timer ??= setTimeout(() => this.#drop(old), timeout);
      this.#check(old);
    }
    const old = this.editions.filter((one) => one < number);
    for (const one of old.slice(0, Math.max(0, old.length - most))) this.#drop(one);
  }

  /** This edition will not serve. Its plugins are the business of whoever started them. */
  cancel(number: number): void {
    this.#entries.delete(number);
  }

  /** Somebody has this edition. */
  hold(number: number, holder: Holder): void {
    this.#entries.get(number)?.holders.add(holder);
  }

  /** Somebody has this edition no more. */
  release(number: number, holder: Holder): void {
    this.#entries.get(number)?.holders.delete(holder);
    this.#check(number);
  }

  /** Somebody has nothing any more. */
  leave(holder: Holder): void {
    for (const number of this.editions) this.release(number, holder);
  }

  /** Lets go of its timers. */
  close(): void {
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
  }

  #check(number: number): void {
    if (number < this.#current && this.#entries.get(number)?.holders.size === 0) this.#drop(number);
  }

  #drop(number: number): void {
    const entry = this.#entries.get(number);
    if (entry === undefined) return;
    clearTimeout(entry.timer);
    this.#entries.delete(number);
    const used = new Set([...this.#entries.values()].flatMap(({ slots }) => slots));
    const unused = entry.slots.filter((slot) => !used.has(slot));
    if (unused.length > 0) this.#options.onUnused(unused);
  }
}
