/**
 * Drawing a member by lot, with chances in proportion to shares.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import type { Candidates } from "./selection.ts";

/**
 * Whom a point in `[0, 1)` falls on when the shares are laid end to end. O(n).
 *
 * @param tried Members to leave out.
 * @param except One more to leave out, by number; `-1`: none.
 * @returns A number of a member, or `-1` if nobody has a share.
 */
export function drawByPoint(
  { backends, shares }: Candidates,
  point: number,
  tried: ReadonlySet<Backend> | null,
  except: number,
): number {
  let total = 0;
  for (let i = 0; i < backends.length; i++) {
    if (i !== except && (tried === null || !tried.has(backends[i]!))) total += shares[i]!;
  }
  let left = point * total;
  let last = -1;
  for (let i = 0; i < backends.length; i++) {
    const share = shares[i]!;
    if (share === 0 || i === except || (tried !== null && tried.has(backends[i]!))) continue;
    last = i;
    left -= share;
    if (left < 0) return i;
  }
  // Rounding may leave a little over at the end.
  return last;
}

/** Draws in O(1), whatever the number of members: Vose's alias method. */
export class Lottery {
  #size = 0;
  #chance = new Float64Array(0);
  #alias = new Int32Array(0);

  /** Whether anybody has a share. */
  get empty(): boolean {
    return this.#size === 0;
  }

  /** Takes the shares as they are now. */
  update({ shares }: Candidates): void {
    const size = shares.length;
    let total = 0;
    for (const share of shares) total += share;
    this.#size = total > 0 ? size : 0;
    if (this.#size === 0) return;
    if (this.#chance.length !== size) {
      this.#chance = new Float64Array(size);
      this.#alias = new Int32Array(size);
    }
    const chance = this.#chance;
    const alias = this.#alias;
    const poor: number[] = [];
    const rich: number[] = [];
    for (let i = 0; i < size; i++) {
      chance[i] = shares[i]! * size / total;
      alias[i] = i;
      (chance[i]! < 1 ? poor : rich).push(i);
    }
    while (poor.length > 0 && rich.length > 0) {
      const one = poor.pop()!;
      const other = rich.at(-1)!;
      alias[one] = other;
      chance[other] = chance[other]! - (1 - chance[one]!);
      if (chance[other]! < 1) {
        rich.pop();
        poor.push(other);
      }
    }
    // Whoever is left should have had exactly 1, but for rounding.
    for (const i of rich) chance[i] = 1;
    for (const i of poor) if (shares[i]! > 0) chance[i] = 1;
  }

  /** The number of a member; `random` is in `[0, 1)`. Not to be called when `empty`. */
  draw(random: number): number {
    const scaled = random * this.#size;
    const slot = Math.floor(scaled);
    return scaled - slot < this.#chance[slot]! ? slot : this.#alias[slot]!;
  }
}
