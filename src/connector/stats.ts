/**
 * How many connections there are, and what they do.
 *
 * @module
 */
import type { PeerHistory } from "./history.ts";
import type { Pool, PooledConnection } from "./pool.ts";

/** What {@linkcode Connector.stats} tells of one peer. */
export interface PeerStats {
  idle: number;
  active: number;
  connecting: number;
  pending: number;
  streams: number;
}

/** What {@linkcode Connector.stats} tells. */
export interface ConnectorStats {
  /** Connections that wait for a request. */
  readonly idle: number;
  /** Connections that carry one, or several. */
  readonly active: number;
  /** Requests that they carry. */
  readonly streams: number;
  /** Connections being made. */
  readonly connecting: number;
  /** Requests that wait for a place under `maxConnections`. */
  readonly pending: number;
  /** The same by `Peer.label`; only peers that have any of them. */
  readonly perPeer: Map<string, PeerStats>;
  /** Connections made so far. */
  readonly opened: number;
  /** Requests that found a connection. */
  readonly reused: number;
  /** Connections closed so far. */
  readonly closed: number;
  /** Connections that could not be made, those given up among them. */
  readonly failed: number;
  /** What has happened so far by `Peer.label`, also to peers that nobody uses now. Live, not a copy. */
  readonly history: ReadonlyMap<string, PeerHistory>;
}

/** Counts the connections of all pools, and by the label of the peer. */
export function countPools(
  pools: Iterable<Pool>,
  connections: Iterable<PooledConnection>,
): { readonly all: PeerStats; readonly perPeer: Map<string, PeerStats> } {
  const streams = new Map<Pool, number>();
  for (const { pool, place, shared } of connections) {
    if (place !== "busy") continue;
    streams.set(pool, (streams.get(pool) ?? 0) + (shared === null ? 1 : shared.streams));
  }
  const perPeer = new Map<string, PeerStats>();
  const all = none();
  for (const pool of pools) {
    let one = perPeer.get(pool.label);
    if (one === undefined) perPeer.set(pool.label, one = none());
    for (const sum of [one, all]) {
      sum.idle += pool.idle;
      sum.active += pool.busy;
      sum.connecting += pool.connecting;
      sum.pending += pool.line.size;
      sum.streams += streams.get(pool) ?? 0;
    }
  }
  return { all, perPeer };
}

function none(): PeerStats {
  return { idle: 0, active: 0, connecting: 0, pending: 0, streams: 0 };
}
