/**
 * A member of a group as the admin interface shows it.
 *
 * @module
 */
import type { Member } from "./member.ts";

/** What is known of a member. Plain data. */
export interface MemberState {
  readonly id: string;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  /** The weight that holds, and the configured one. */
  readonly weight: number;
  readonly configuredWeight: number;
  /** `false`: an operator has taken it out. */
  readonly enabled: boolean;
  /** What its health allows. */
  readonly usable: boolean;
  /** Share of its weight that it has while it starts slowly; else `1`. */
  readonly weightFactor: number;
  /** In a word; `ignored`: it is unusable, but health is ignored now. */
  readonly state: "ready" | "slow_start" | "drained" | "unusable" | "ignored";
  /** Requests that it works on, that it was given, and that failed. */
  readonly inFlight: number;
  readonly requests: number;
  readonly failures: number;
  /** Average answer time in milliseconds; `0` if it is not measured. */
  readonly ewma: number;
}

/** @param panic Whether the group ignores health now. */
export function memberState(member: Member, panic: boolean): MemberState {
  const { id, endpoint, entry, load, usable, factor } = member;
  const unusable = panic ? "ignored" : "unusable";
  return {
    id,
    priority: endpoint.priority,
    labels: endpoint.labels,
    weight: member.weight,
    configuredWeight: endpoint.weight,
    enabled: entry.enabled,
    usable,
    weightFactor: factor,
    state: !member.wanted ? "drained" : !usable ? unusable : factor < 1 ? "slow_start" : "ready",
    inFlight: load.inFlight,
    requests: load.requests,
    failures: load.failures,
    ewma: load.ewma,
  };
}
