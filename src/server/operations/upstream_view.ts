/**
 * The upstream groups as all service workers together see them.
 *
 * @module
 */
import { formatAddress } from "../../transport/address.ts";
import type { UpstreamReport } from "../../service/upstream_report.ts";
import type { WatchedUpstream } from "../upstream_watch.ts";
import type { MemberSettings } from "./member_settings.ts";

/** A member of a group. Counts are over all service workers. */
export interface MemberView {
  readonly id: string;
  /** `mixed`: the service workers see it differently. */
  readonly state: string;
  /** The weight that holds, and what config or discovery say. */
  readonly weight: number;
  readonly configured_weight: number;
  /** `false`: an operator has taken it out. */
  readonly enabled: boolean;
  /** Whether every service worker may use it. */
  readonly usable: boolean;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly in_flight: number;
  readonly requests: number;
  readonly failures: number;
  readonly connections: {
    readonly idle: number;
    readonly active: number;
    readonly connecting: number;
    readonly pending: number;
    /** Requests on them. */
    readonly streams: number;
  };
}

/** A group. */
export interface UpstreamView {
  readonly name: string;
  readonly policy: string;
  /** Whether a service worker ignores health because too few members are usable. */
  readonly panic: boolean;
  /** Circuit breakers by state, one for each service worker; `null` without. */
  readonly breaker: Readonly<Record<string, number>> | null;
  readonly discovery: { readonly type: string; readonly working: boolean } | null;
  readonly endpoints: readonly MemberView[];
}

/** Puts together what is known. */
export function viewUpstreams(
  upstreams: readonly WatchedUpstream[],
  settings: MemberSettings,
  reports: readonly (readonly UpstreamReport[])[],
): UpstreamView[] {
  return upstreams.map((watched) => {
    const { name, balancing, discovery } = watched.upstream;
    const seen = reports.flatMap((all) => all.filter((one) => one.name === name));
    const breakers = seen.flatMap(({ breaker }) => breaker ?? []);
    const ids = new Set(watched.endpoints.map(({ address }) => formatAddress(address)));
    for (const { members } of seen) for (const { id } of members) ids.add(id);
    return {
      name,
      policy: balancing.policy,
      panic: seen.some(({ panic }) => panic),
      breaker: breakers.length === 0 ? null : countOf(breakers),
      discovery: discovery === null
        ? null
        : { type: discovery.source.type, working: watched.works },
      endpoints: [...ids].map((id) => viewMember(watched, id, settings, seen)),
    };
  });
}

function viewMember(
  { upstream, endpoints }: WatchedUpstream,
  id: string,
  settings: MemberSettings,
  seen: readonly UpstreamReport[],
): MemberView {
  const all = seen.flatMap(({ members }) => members.filter((member) => member.id === id));
  const endpoint = endpoints.find(({ address }) => formatAddress(address) === id);
  const set = settings.get(upstream.name, id);
  const configured = all[0]?.configuredWeight ?? endpoint?.weight ?? 0;
  const states = new Set(all.map(({ state }) => state));
  const sum = (value: (member: typeof all[number]) => number) =>
    all.reduce((total, member) => total + value(member), 0);
  return {
    id,
    state: states.size === 1 ? [...states][0]! : states.size === 0 ? "unknown" : "mixed",
    weight: set.weight ?? configured,
    configured_weight: configured,
    enabled: set.enabled,
    usable: all.length > 0 && all.every(({ usable }) => usable),
    priority: all[0]?.priority ?? endpoint?.priority ?? 0,
    labels: all[0]?.labels ?? endpoint?.labels ?? {},
    in_flight: sum(({ inFlight }) => inFlight),
    requests: sum(({ requests }) => requests),
    failures: sum(({ failures }) => failures),
    connections: {
      idle: sum(({ connections }) => connections.idle),
      active: sum(({ connections }) => connections.active),
      connecting: sum(({ connections }) => connections.connecting),
      pending: sum(({ connections }) => connections.pending),
      streams: sum(({ connections }) => connections.streams),
    },
  };
}

function countOf(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
