/**
 * Smooth weighted turns, as nginx takes them: the heavier come more often, and evenly spread.
 *
 * Each turn, every member gains its share; who has most is next, and pays back what all have gained. Weights 5, 1, 1
 * give a a b a c a a, not a a a a a b c.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import { type Candidates, NO_CANDIDATES } from "./selection.ts";

/** Takes turns among candidates. */
export class SmoothTurns {
  #candidates: Candidates = NO_CANDIDATES;
  #gained = new Float64Array(0);
  #total = 0;

  /** Takes other candidates. Those that stay keep their place in the order: else, the first would gain by each update. */
  update(candidates: Candidates): void {
    const before = new Map(this.#candidates.backends.map(({ id }, i) => [id, this.#gained[i]!]));
    this.#gained = Float64Array.from(candidates.backends, ({ id }) => before.get(id) ?? 0);
    this.#candidates = candidates;
    this.refresh();
  }

  /** Says that shares have changed. */
  refresh(): void {
    let total = 0;
    for (const share of this.#candidates.shares) total += share;
    // What was gained by large shares would take long to pay back with small ones.
    if (this.#total > 0 && total > 0 && total !== this.#total) {
      for (let i = 0; i < this.#gained.length; i++) this.#gained[i]! *= total / this.#total;
    }
    if (total > 0) this.#total = total;
  }

  /**
   * The next one.
   *
   * @param among If given, only those whose number is `1` in it take part.
   */
  next(tried: ReadonlySet<Backend> | null, among: Uint8Array | null = null): Backend | null {
    const { backends, shares } = this.#candidates;
    const gained = this.#gained;
    let best = -1;
    let most = -Infinity;
    let total = 0;
    for (let i = 0; i < backends.length; i++) {
      const share = shares[i]!;
      if (share === 0 || (among !== null && among[i] !== 1)) continue;
      if (tried !== null && tried.has(backends[i]!)) continue;
      total += share;
      const sum = gained[i]! + share;
      gained[i] = sum;
      if (sum > most) {
        most = sum;
        best = i;
      }
    }
    if (best < 0) return null;
    gained[best] = most - total;
    return backends[best]!;
  }
}
