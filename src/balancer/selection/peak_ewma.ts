/**
 * Peak EWMA: two by lot, and of them who is likely to answer sooner.
 *
 * The cost of a member is its average answer time, in which a slow answer counts at once and a quick one gradually,
 * times the requests it would then work on, divided by its share.
 *
 * @module
 */
import type { Clock } from "../../base/clock.ts";
import type { Backend, BackendLoad } from "../backend.ts";
import { decayedEwma } from "../ewma.ts";
import {
  type Candidates,
  NO_CANDIDATES,
  type Selection,
  type SelectionOptions,
} from "./selection.ts";

/** The cheaper of two that are drawn with equal chances. O(1); O(n) after a failure. */
export class PeakEwma implements Selection {
  readonly #clock: Clock;
  readonly #random: () => number;
  #candidates: Candidates = NO_CANDIDATES;
  /** Numbers of those with a share. */
  #live = new Int32Array(0);
  #count = 0;

  constructor({ clock, random }: SelectionOptions) {
    this.#clock = clock;
    this.#random = random;
  }

  update(candidates: Candidates): void {
    this.#candidates = candidates;
    this.#live = new Int32Array(candidates.backends.length);
    this.refresh();
  }

  refresh(): void {
    const { shares } = this.#candidates;
    this.#count = 0;
    for (let i = 0; i < shares.length; i++) if (shares[i]! > 0) this.#live[this.#count++] = i;
  }

  pick(_key: string | null, tried: ReadonlySet<Backend> | null): Backend | null {
    const { backends, shares } = this.#candidates;
    const count = this.#count;
    if (tried !== null) return this.#cheapest(tried);
    if (count < 2) return count === 0 ? null : backends[this.#live[0]!]!;
    // One number is enough for two: count × (count - 1) pairs.
    const pair = Math.floor(this.#random() * count * (count - 1));
    const first = Math.floor(pair / (count - 1));
    const rest = pair - first * (count - 1);
    const one = this.#live[first]!;
    const two = this.#live[rest < first ? rest : rest + 1]!;
    const now = this.#clock.now();
    const loadOne = backends[one]!.load;
    const loadTwo = backends[two]!.load;
    const averageOne = decayedEwma(loadOne, now);
    const averageTwo = decayedEwma(loadTwo, now);
    const costOne = cost(loadOne, shares[one]!, averageOne, averageTwo);
    const costTwo = cost(loadTwo, shares[two]!, averageTwo, averageOne);
    return backends[costTwo < costOne ? two : one]!;
  }

  #cheapest(tried: ReadonlySet<Backend>): Backend | null {
    const { backends, shares } = this.#candidates;
    const now = this.#clock.now();
    let slowest = 0;
    for (let k = 0; k < this.#count; k++) {
      slowest = Math.max(slowest, decayedEwma(backends[this.#live[k]!]!.load, now));
    }
    let best: Backend | null = null;
    let least = Infinity;
    for (let k = 0; k < this.#count; k++) {
      const i = this.#live[k]!;
      const backend = backends[i]!;
      if (tried.has(backend)) continue;
      const own = cost(backend.load, shares[i]!, decayedEwma(backend.load, now), slowest);
      if (best !== null && own >= least) continue;
      best = backend;
      least = own;
    }
    return best;
  }
}

/**
 * What a further request would cost. A member that has not answered yet is tried at once; while it works on its first
 * requests, it is taken to be as quick as the one that it is compared with.
 */
function cost(load: BackendLoad, share: number, average: number, other: number): number {
  if (average === 0) {
    if (load.inFlight === 0) return 0;
    average = other === 0 ? 1 : other;
  }
  return average * (load.inFlight + 1) / share;
}
