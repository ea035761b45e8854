/**
 * Consistent hashing: a key stays with its member, and when members come or go, few keys move.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import { crc32, mix32, TWO_32 } from "../crc32.ts";
import { drawByPoint } from "./draw.ts";
import { buildRing, pointOf, type Ring } from "./ring.ts";
import { type Candidates, NO_CANDIDATES, type Selection } from "./selection.ts";
import { SmoothTurns } from "./smooth_turns.ts";

/** Points to pass over before the ring is given up for this request: only reached when hardly anybody has a share. */
const MAX_STEPS = 8192;

/**
 * The owner of the first point at or behind the CRC-32 of the key; requests without key take turns. O(log points).
 * Whoever has no share is passed over, so that only the keys of those move that cannot be asked.
 */
export class Ketama implements Selection {
  readonly #turns = new SmoothTurns();
  #candidates: Candidates = NO_CANDIDATES;
  #ring: Ring = buildRing([], new Float64Array(0));
  /** Ids and weights that the ring was made of. */
  #made = "";
  /** How many of its points each member has now. */
  #limits = new Uint32Array(0);
  #live = 0;

  update(candidates: Candidates): void {
    this.#candidates = candidates;
    this.#turns.update(candidates);
    const { backends, weights } = candidates;
    const made = JSON.stringify(backends.map(({ id }, i) => [id, weights[i]]));
    if (made !== this.#made) {
      this.#ring = buildRing(backends, weights);
      this.#made = made;
      this.#limits = new Uint32Array(backends.length);
    }
    this.#limit();
  }

  refresh(): void {
    this.#turns.refresh();
    this.#limit();
  }

  pick(key: string | null, tried: ReadonlySet<Backend> | null): Backend | null {
    if (key === null) return this.#turns.next(tried);
    const { backends } = this.#candidates;
    if (this.#live === 0 || (tried !== null && !this.#anyLeft(tried))) return null;
    const { owners, ordinals } = this.#ring;
    const limits = this.#limits;
    const hash = crc32(key);
    let point = pointOf(this.#ring, hash);
    const steps = Math.min(owners.length, MAX_STEPS);
    for (let step = 0; step < steps; step++) {
      const owner = owners[point]!;
      if (ordinals[point]! < limits[owner]!) {
        const backend = backends[owner]!;
        if (tried === null || !tried.has(backend)) return backend;
      }
      if (++point === owners.length) point = 0;
    }
    const index = drawByPoint(this.#candidates, mix32(hash) / TWO_32, tried, -1);
    return index < 0 ? null : backends[index]!;
  }

  /** A member that starts slowly has the first of its points only: keys come to it one by one, and stay. */
  #limit(): void {
    const { weights, shares } = this.#candidates;
    const { counts } = this.#ring;
    this.#live = 0;
    for (let i = 0; i < counts.length; i++) {
      const share = shares[i]!;
      this.#limits[i] = share === 0
        ? 0
        : Math.max(1, Math.round(counts[i]! * Math.min(1, share / weights[i]!)));
      if (share > 0) this.#live++;
    }
  }

  #anyLeft(tried: ReadonlySet<Backend>): boolean {
    const { backends, shares } = this.#candidates;
    for (let i = 0; i < backends.length; i++) {
      if (shares[i]! > 0 && !tried.has(backends[i]!)) return true;
    }
    return false;
  }
}
