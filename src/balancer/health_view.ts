/**
 * What a group asks of whoever watches the health of its members.
 *
 * @module
 */
import type { Backend, Outcome } from "./backend.ts";

/** The health of the members of one group, as the choice among them needs it. */
export interface HealthView {
  /**
   * Whether requests may go to a member. A member that nothing is known of is usable. Asked once per member after
   * each `onChange`, never per request.
   */
  usable(backend: Backend): boolean;
  /**
   * What share of its weight a member gets, over 0 up to 1: less than 1 while it starts slowly. Asked when `usable`
   * is.
   */
  weightFactor(backend: Backend): number;
  /** Takes note of how an attempt at a member ended; called once per attempt. */
  record(backend: Backend, outcome: Outcome): void;
  /**
   * To be called whenever `usable` or `weightFactor` may answer differently. Set by the one group that uses this
   * view. It only marks the tables of the group as outdated, so many calls in a row cost nothing.
   */
  onChange: (() => void) | null;
}

/** A view for a group whose health nobody watches: every member is usable, always and fully. */
export function noHealth(): HealthView {
  return { usable: () => true, weightFactor: () => 1, record: () => {}, onChange: null };
}
