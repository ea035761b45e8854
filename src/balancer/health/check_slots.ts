/**
 * How many checks may run at a time, over all groups that share it.
 *
 * @module
 */

/** Someone who waits for a slot. */
export interface SlotUser {
  /** Called when a slot is theirs; give it back by `release`. */
  onSlot(): void;
}

/** A number of slots, and a line of those who wait for one. Nobody stands in it twice. */
export class CheckSlots {
  readonly #line = new Set<SlotUser>();
  readonly #limit: number;
  #used = 0;

  /** @param limit Checks at a time, at least 1. */
  constructor(limit: number = 64) {
    this.#limit = Math.max(1, limit);
  }

  /** Checks that run now. */
  get used(): number {
    return this.#used;
  }

  /** Checks that wait. */
  get waiting(): number {
    return this.#line.size;
  }

  /** Gives a slot now, or as soon as one is free. */
  ask(user: SlotUser): void {
    this.#line.add(user);
    this.#serve();
  }

  /** Leaves the line. */
  leave(user: SlotUser): void {
    this.#line.delete(user);
  }

  /** Gives a slot back. */
  release(): void {
    this.#used--;
    this.#serve();
  }

  #serve(): void {
    for (const user of this.#line) {
      if (this.#used >= this.#limit) return;
      this.#line.delete(user);
      this.#used++;
      user.onSlot();
    }
  }
}
