/**
 * Objects by their number, for numbers that rise by two.
 *
 * @module
 */

/** What {@linkcode Numbered} can hold. */
export interface HasNumber {
  readonly id: number;
}

/** Places in the beginning. */
const FIRST_PLACES = 16;

/**
 * A map for objects that come and go all the time, by open addressing.
 *
 * A `Map` puts what it holds into a new table each time the old one is full of gaps, and each old table leads to the
 * next. One that came to the old space of the heap, while a connection was idle, keeps all that followed it, and the
 * streams in these, until the next full collection; short collections copy them all. Whoever picks numbers that share a
 * place makes each search as long as there are members, so their number must be limited.
 */
export class Numbered<Member extends HasNumber> {
  #places: (Member | null)[] = new Array(FIRST_PLACES).fill(null);
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** All members, by number. */
  get all(): Member[] {
    const found: Member[] = [];
    for (const member of this.#places) if (member !== null) found.push(member);
    return found.sort((one, other) => one.id - other.id);
  }

  /** The one with that number, or `null`. */
  get(id: number): Member | null {
    return this.#places[this.#find(id)]!;
  }

  /** Takes one in whose number nobody has. */
  add(member: Member): void {
    if (2 * ++this.#size > this.#places.length) this.#grow();
    this.#places[this.#find(member.id)] = member;
  }

  /** Lets the one with that number go. Returns whether it was here. */
  delete(id: number): boolean {
    const places = this.#places;
    const last = places.length - 1;
    let gap = this.#find(id);
    if (places[gap] === null) return false;
    this.#size--;
    // Who stands behind the gap only because the places before were taken moves up.
    for (let at = (gap + 1) & last;; at = (at + 1) & last) {
      const member = places[at]!;
      if (member === null) break;
      const home = (member.id >>> 1) & last;
      if (((at - home) & last) >= ((at - gap) & last)) {
        places[gap] = member;
        gap = at;
      }
    }
    places[gap] = null;
    return true;
  }

  /** Where the one with that number stands, or would. */
  #find(id: number): number {
    const places = this.#places;
    const last = places.length - 1;
    let at = (id >>> 1) & last;
    for (;; at = (at + 1) & last) {
      const member = places[at]!;
      if (member === null || member.id === id) return at;
    }
  }

  #grow(): void {
    const before = this.#places;
    this.#places = new Array(2 * before.length).fill(null);
    for (const member of before) {
      if (member !== null) this.#places[this.#find(member.id)] = member;
    }
    before.fill(null);
  }
}
