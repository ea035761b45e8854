/**
 * The contract of a balancing algorithm.
 *
 * An algorithm knows neither health nor tiers nor subsets: it is given members and what share each may have now, and
 * says who is next. Adding one is adding a file and a row in `table.ts`.
 *
 * @module
 */
import type { Clock } from "../../base/clock.ts";
import type { Backend } from "../backend.ts";

/** Whom an algorithm chooses among. Index `i` is the same member in all three. */
export interface Candidates {
  readonly backends: readonly Backend[];
  /** Configured weights; whole numbers, also of those that may have nothing now. */
  readonly weights: Float64Array;
  /** What each may have now, `0` up to its weight: less than that while it starts slowly, `0` if it must not be asked. */
  readonly shares: Float64Array;
}

/** What {@linkcode Selection}s are made with. */
export interface SelectionOptions {
  readonly clock: Clock;
  /** Numbers in `[0, 1)`. */
  readonly random: () => number;
}

/** Says who of a set of members is next. */
export interface Selection {
  /** Takes another set of members, or other weights. What it keeps of a member that stays is kept, by id. */
  update(candidates: Candidates): void;
  /** Says that `shares` of the candidates have changed in place. */
  refresh(): void;
  /**
   * The next member.
   *
   * @param key What to hash, or `null`; heeded by those that hash.
   * @param tried Members that must not come again.
   * @returns `null` if there is none with a share that was not tried. Never throws.
   */
  pick(key: string | null, tried: ReadonlySet<Backend> | null): Backend | null;
}

/** Nobody. */
export const NO_CANDIDATES: Candidates = {
  backends: [],
  weights: new Float64Array(0),
  shares: new Float64Array(0),
};
