/**
 * Random choice.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import { drawByPoint, Lottery } from "./draw.ts";
import {
  type Candidates,
  NO_CANDIDATES,
  type Selection,
  type SelectionOptions,
} from "./selection.ts";

/** By lot, in proportion to the shares. O(1); O(n) after a failure. */
export class Random implements Selection {
  readonly #random: () => number;
  readonly #lottery = new Lottery();
  #candidates: Candidates = NO_CANDIDATES;

  constructor({ random }: SelectionOptions) {
    this.#random = random;
  }

  update(candidates: Candidates): void {
    this.#candidates = candidates;
    this.#lottery.update(candidates);
  }

  refresh(): void {
    this.#lottery.update(this.#candidates);
  }

  pick(_key: string | null, tried: ReadonlySet<Backend> | null): Backend | null {
    if (this.#lottery.empty) return null;
    const { backends } = this.#candidates;
    if (tried === null) return backends[this.#lottery.draw(this.#random())]!;
    const index = drawByPoint(this.#candidates, this.#random(), tried, -1);
    return index < 0 ? null : backends[index]!;
  }
}
