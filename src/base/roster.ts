/**
 * A set whose members know where they stand in it.
 *
 * @module
 */

/** What a {@linkcode Roster} can hold. It stands in no more than one. */
export interface RosterMember {
  /** Where it stands; `-1` from the beginning, and when it stands in none. */
  rosterPlace: number;
}

/**
 * A set for many objects that come and go.
 *
 * A `Set` puts what it holds into a new table each time the old one is full of gaps, and each old table leads to the
 * next. One that came to the old space of the heap keeps all that followed it, and every object in these, until the
 * next full collection; short collections copy them all.
 */
export class Roster<Member extends RosterMember> {
  readonly #members: Member[] = [];

  /** How many there are. */
  get size(): number {
    return this.#members.length;
  }

  /** All members, in no order, as of now. */
  get all(): Member[] {
    return this.#members.slice();
  }

  /** Takes one in that stands in none. */
  add(member: Member): void {
    member.rosterPlace = this.#members.length;
    this.#members.push(member);
  }

  /** Lets one go. Returns whether it was here. */
  delete(member: Member): boolean {
    const { rosterPlace } = member;
    const members = this.#members;
    if (members[rosterPlace] !== member) return false;
    const last = members.pop()!;
    if (last !== member) {
      members[rosterPlace] = last;
      last.rosterPlace = rosterPlace;
    }
    member.rosterPlace = -1;
    return true;
  }
}
