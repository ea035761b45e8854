/**
 * Round robin: one after the other, by weight.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import type { Candidates, Selection } from "./selection.ts";
import { SmoothTurns } from "./smooth_turns.ts";

/** Smooth weighted round robin. O(n). */
export class RoundRobin implements Selection {
  readonly #turns = new SmoothTurns();

  update(candidates: Candidates): void {
    this.#turns.update(candidates);
  }

  refresh(): void {
    this.#turns.refresh();
  }

  pick(_key: string | null, tried: ReadonlySet<Backend> | null): Backend | null {
    return this.#turns.next(tried);
  }
}
