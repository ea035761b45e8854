/**
 * Power of two choices: two by lot, and of them who has less to do.
 *
 * Nearly as even as least connections, without a look at every member, and without the herd: proxies that do not know
 * of each other's requests do not all run to the same idle member.
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

/** The less busy for its share of two that are drawn by share; the first drawn if both are alike. O(1). */
export class PowerOfTwo implements Selection {
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
    const { backends, shares } = this.#candidates;
    const one = tried === null
      ? this.#lottery.draw(this.#random())
      : drawByPoint(this.#candidates, this.#random(), tried, -1);
    if (one < 0) return null;
    const first = backends[one]!;
    // An idle one cannot be beaten.
    if (first.load.inFlight === 0) return first;
    const two = this.#other(one, tried);
    if (two < 0) return first;
    const second = backends[two]!;
    return second.load.inFlight * shares[one]! < first.load.inFlight * shares[two]!
      ? second
      : first;
  }

  #other(one: number, tried: ReadonlySet<Backend> | null): number {
    if (tried === null) {
      for (let attempt = 0; attempt < 2; attempt++) {
        const two = this.#lottery.draw(this.#random());
        if (two !== one) return two;
      }
    }
    return drawByPoint(this.#candidates, this.#random(), tried, one);
  }
}
