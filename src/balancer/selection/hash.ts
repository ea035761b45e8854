/**
 * Plain hashing: a key stays with its member as long as the set of members stays. Cheaper than the ring and evenly
 * spread, but nearly every key moves when a member comes or goes.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import { crc32, mix32, TWO_32 } from "../crc32.ts";
import { drawByPoint } from "./draw.ts";
import { type Candidates, NO_CANDIDATES, type Selection } from "./selection.ts";
import { SmoothTurns } from "./smooth_turns.ts";

/** Times a key is hashed anew when its member cannot be asked; nginx has the same. */
const MAX_REHASH = 20;

/**
 * The member whom the hash falls on when the weights are laid end to end; requests without key take turns. O(log n).
 * Whoever has no share keeps its place, so that only the keys of those move that cannot be asked.
 */
export class Hash implements Selection {
  readonly #turns = new SmoothTurns();
  #candidates: Candidates = NO_CANDIDATES;
  /** Where the weight of each member ends. */
  #ends = new Float64Array(0);
  #total = 0;

  update(candidates: Candidates): void {
    this.#candidates = candidates;
    this.#turns.update(candidates);
    let total = 0;
    this.#ends = candidates.weights.map((weight) => total += weight);
    this.#total = total;
  }

  refresh(): void {
    this.#turns.refresh();
  }

  pick(key: string | null, tried: ReadonlySet<Backend> | null): Backend | null {
    if (key === null) return this.#turns.next(tried);
    if (this.#total === 0) return null;
    const { backends, weights, shares } = this.#candidates;
    let hash = mix32(crc32(key));
    for (let attempt = 0; attempt < MAX_REHASH; attempt++) {
      const index = this.#memberAt(hash);
      const share = shares[index]!;
      // While a member starts slowly, a part of its keys is sent elsewhere: always the same part.
      const taken = share === weights[index]! ||
        mix32(hash ^ 0x5bd1e995) * weights[index]! < share * TWO_32;
      if (taken && share > 0 && (tried === null || !tried.has(backends[index]!))) {
        return backends[index]!;
      }
      hash = mix32(hash + 0x9e3779b9);
    }
    const index = drawByPoint(this.#candidates, hash / TWO_32, tried, -1);
    return index < 0 ? null : backends[index]!;
  }

  #memberAt(hash: number): number {
    const ends = this.#ends;
    const point = hash / TWO_32 * this.#total;
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ends[middle]! <= point) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
