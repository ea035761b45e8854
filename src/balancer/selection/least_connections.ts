/**
 * Least connections: to whom has least to do for its weight.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import { type Candidates, NO_CANDIDATES, type Selection } from "./selection.ts";
import { SmoothTurns } from "./smooth_turns.ts";

/** Fewest requests in flight per share; those with equally few take turns by weight. O(n). */
export class LeastConnections implements Selection {
  readonly #turns = new SmoothTurns();
  #candidates: Candidates = NO_CANDIDATES;
  #tied = new Uint8Array(0);

  update(candidates: Candidates): void {
    this.#candidates = candidates;
    this.#tied = new Uint8Array(candidates.backends.length);
    this.#turns.update(candidates);
  }

  refresh(): void {
    this.#turns.refresh();
  }

  pick(_key: string | null, tried: ReadonlySet<Backend> | null): Backend | null {
    const { backends, shares } = this.#candidates;
    const tied = this.#tied;
    let best = -1;
    let ties = 0;
    let least = Infinity;
    tied.fill(0);
    for (let i = 0; i < backends.length; i++) {
      const share = shares[i]!;
      const backend = backends[i]!;
      if (share === 0 || (tried !== null && tried.has(backend))) continue;
      const load = backend.load.inFlight / share;
      if (load > least) continue;
      if (load < least) {
        if (best >= 0) tied.fill(0, best, i);
        least = load;
        best = i;
        ties = 0;
      }
      tied[i] = 1;
      ties++;
    }
    if (best < 0) return null;
    return ties === 1 ? backends[best]! : this.#turns.next(null, tied);
  }
}
