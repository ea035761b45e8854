/**
 * Tells what the upstream side of a service worker has counted anyway: members, breakers, pools, budgets, mirrors.
 *
 * @module
 */
import { EVICTIONS } from "../connector/history.ts";
import type { Connector } from "../connector/connector.ts";
import type { ConnectorStats } from "../connector/stats.ts";
import type { SampleSink } from "../observe/metrics/book.ts";
import type { Route } from "../proxy/route.ts";
import type { Upstream } from "../proxy/upstreams.ts";

const STATES = ["idle", "active", "connecting", "pending"] as const;
const STEPS = ["lookup", "connect", "tls"] as const;
const BREAKER_STATES = ["closed", "open", "half_open"] as const;
/** Peers that plugins name are as many as they like: they share one row. */
const OTHER = ["", "other"] as const;
/** Members of a group with a row of their own; those beyond share one, which tells counts only. */
export const MOST_MEMBERS = 256;

/** Members and breakers. */
export function tellUpstreams(sink: SampleSink, upstreams: Iterable<Upstream>): void {
  for (const { group, breaker } of upstreams) {
    const { name } = group;
    let rows = 0;
    for (const member of group.members) {
      const hasRow = ++rows <= MOST_MEMBERS;
      const labels = [name, hasRow ? member.id : "other"] as const;
      sink.add("sluice_upstream_active_requests", labels, member.inFlight);
      sink.add("sluice_upstream_requests_total", labels, member.requests);
      sink.add("sluice_upstream_failures_total", labels, member.failures);
      if (!hasRow) continue;
      sink.add("sluice_upstream_healthy", labels, member.usable ? 1 : 0);
      sink.add("sluice_upstream_weight", labels, member.enabled ? member.weight : 0);
    }
    sink.add("sluice_upstream_panic", [name], group.panic ? 1 : 0);
    if (breaker === null) continue;
    const stats = breaker.stats();
    for (const state of BREAKER_STATES) {
      sink.add("sluice_upstream_breakers", [name, state], stats.state === state ? 1 : 0);
    }
    sink.add("sluice_upstream_breaker_opened_total", [name], stats.opened);
    const refused = { open: stats.refusedOpen, requests: stats.refusedRequests };
    for (const [reason, times] of Object.entries({ ...refused, pending: stats.refusedPending })) {
      sink.add("sluice_upstream_breaker_refused_total", [name, reason], times);
    }
  }
}

/** Connections. */
export function tellConnections(
  sink: SampleSink,
  connector: Connector,
  upstreams: Iterable<Upstream>,
): void {
  const stats = connector.stats();
  const groups = new Map<string, string>();
  for (const { group } of upstreams) {
    for (const { id } of group.backends.slice(0, MOST_MEMBERS)) {
      // An address in two groups shares its connections: they count for the first.
      if (!groups.has(id)) groups.set(id, group.name);
    }
  }
  const labelsOf = (peer: string): readonly [string, string] => {
    const group = groups.get(peer);
    return group === undefined ? OTHER : [group, peer];
  };
  for (const [peer, group] of groups) {
    const now = stats.perPeer.get(peer);
    sink.add("sluice_upstream_streams", [group, peer], now?.streams ?? 0);
    for (const state of STATES) {
      sink.add("sluice_upstream_connections", [group, peer, state], now?.[state] ?? 0);
    }
  }
  for (const [peer, now] of stats.perPeer) {
    if (groups.has(peer)) continue;
    sink.add("sluice_upstream_streams", OTHER, now.streams);
    for (const state of STATES) {
      sink.add("sluice_upstream_connections", [...OTHER, state], now[state]);
    }
  }
  tellHistory(sink, stats, labelsOf);
}

function tellHistory(
  sink: SampleSink,
  { history }: ConnectorStats,
  labelsOf: (peer: string) => readonly [string, string],
): void {
  for (const [peer, past] of history) {
    const labels = labelsOf(peer);
    sink.add("sluice_upstream_connections_opened_total", labels, past.opened);
    sink.add("sluice_upstream_connections_reused_total", labels, past.reused);
    for (const [type, times] of Object.entries(past.failures)) {
      sink.add("sluice_upstream_connections_failed_total", [...labels, type], times);
    }
    for (const reason of EVICTIONS) {
      const times = past.evicted[reason];
      if (times > 0) {
        sink.add("sluice_upstream_connections_closed_total", [...labels, reason], times);
      }
    }
    for (const step of STEPS) {
      if (past[step].count === 0) continue;
      sink.add("sluice_upstream_connect_seconds_total", [...labels, step], past[step].total / 1000);
    }
  }
}

/** Retry budgets and mirrors. */
export function tellRoutes(
  sink: SampleSink,
  routes: Iterable<Pick<Route, "id" | "retry" | "mirrors">>,
): void {
  for (const { id, retry, mirrors } of routes) {
    if (retry.settings.attempts > 0) {
      sink.add("sluice_retry_budget_left", [id], retry.left);
      sink.add("sluice_retry_budget_exhausted_total", [id], retry.refused);
    }
    for (const { upstream, counts } of mirrors) {
      for (const outcome of ["sent", "failed", "skipped"] as const) {
        sink.add("sluice_mirrored_requests_total", [id, upstream, outcome], counts[outcome]);
      }
    }
  }
}
