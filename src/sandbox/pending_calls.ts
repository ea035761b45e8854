/**
 * The calls that wait for their sandbox, by number.
 *
 * @module
 */
import type { PendingCall } from "./pending_call.ts";

const FIRST_SIZE = 64;

/**
 * Gives numbers to calls, and finds calls by them. A number comes again only after 2³¹ calls, so that no late answer
 * is taken for that of another call.
 *
 * A table by the low bits of the number, and no `Map`: that one takes a new table each time the old one is full of
 * gaps, and is three times as dear.
 */
export class PendingCalls {
  #slots: (PendingCall | null)[] = new Array(FIRST_SIZE).fill(null);
  #next = 0;
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** All of them, as of now. */
  get all(): PendingCall[] {
    return this.#slots.filter((call) => call !== null);
  }

  /** The next number. It is not given again before `add` has been called for it. */
  nextId(): number {
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    const slots = this.#slots;
    const mask = slots.length - 1;
    let id = this.#next;
    // A call that takes long is stepped over.
    do id = (id + 1) & 0x7fffffff; while (slots[id & mask] !== null);
    this.#next = id;
    return id;
  }

  /** Takes in a call whose `id` is a number that was given. */
  add(call: PendingCall): void {
    this.#slots[call.id & (this.#slots.length - 1)] = call;
    this.#size++;
  }

  /** @param id Whatever somebody says it is. */
  get(id: unknown): PendingCall | null {
    if (typeof id !== "number") return null;
    const call = this.#slots[id & (this.#slots.length - 1)]!;
    return call !== null && call.id === id ? call : null;
  }

  /** Lets go of a call that is here. */
  delete(call: PendingCall): void {
    this.#slots[call.id & (this.#slots.length - 1)] = null;
    this.#size--;
  }

  #grow(): void {
    const slots: (PendingCall | null)[] = new Array(this.#slots.length * 2).fill(null);
    for (const call of this.#slots) {
      if (call !== null) slots[call.id & (slots.length - 1)] = call;
    }
    this.#slots = slots;
  }
}
