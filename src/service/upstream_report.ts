/**
 * The upstream groups as one service worker sees them, for operators.
 *
 * @module
 */
import type { MemberState } from "../balancer/member_state.ts";
import type { BreakerState } from "../connector/breaker.ts";
import type { Connector } from "../connector/connector.ts";
import type { PeerStats } from "../connector/stats.ts";
import type { Upstream } from "../proxy/upstreams.ts";

/** A group in one service worker. Plain data. */
export interface UpstreamReport {
  readonly name: string;
  readonly policy: string;
  /** Whether health is ignored because too few members are usable. */
  readonly panic: boolean;
  /** Priority of the members that serve; `null` if none do. */
  readonly servingPriority: number | null;
  /** `null`: it has none. */
  readonly breaker: BreakerState | null;
  readonly members: readonly (MemberState & { readonly connections: PeerStats })[];
}

const NO_CONNECTIONS: PeerStats = { idle: 0, active: 0, connecting: 0, pending: 0, streams: 0 };

/** Reports on all groups. */
export function reportUpstreams(
  upstreams: Iterable<Upstream>,
  connector: Connector,
): UpstreamReport[] {
  const { perPeer } = connector.stats();
  return [...upstreams].map(({ group, breaker }) => ({
    name: group.name,
    policy: group.policy,
    panic: group.panic,
    servingPriority: group.servingPriority,
    breaker: breaker === null ? null : breaker.state,
    members: group.members.map((member) => ({
      ...member,
      connections: perPeer.get(member.id) ?? NO_CONNECTIONS,
    })),
  }));
}
