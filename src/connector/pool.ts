/**
 * The connections that share one reuse key, and one connection as the connector sees it.
 *
 * @module
 */
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamSession } from "../http/session.ts";
import { IdleNode } from "./idle_list.ts";
import type { Peer } from "./peer.ts";
import { WaitingLine } from "./waiting_line.ts";

/** What the connector needs of an upstream connection, whatever it speaks. */
export interface PoolableConnection {
  /** Called when an exchange is over and the connection can carry another. */
  onIdle: (() => void) | null;
  /** Called when the connection is gone, for whatever reason. */
  onClosed: (() => void) | null;
  readonly closed: boolean;
  /** Begins an exchange. Only while idle. */
  begin(method: string): UpstreamSession;
  /** Closes it at once. */
  destroy(): void;
}

/** Where a connection is. */
export type Place = "busy" | "idle" | "gone";

/** A connection with its place in a pool. */
export class PooledConnection extends IdleNode {
  readonly connection: PoolableConnection;
  readonly pool: Pool;
  /** Whose options hold: the peer that used it last. */
  peer: Peer;
  place: Place = "busy";
  /** Ends its time in the pool. */
  readonly idleDeadline: Deadline;

  constructor(
    connection: PoolableConnection,
    pool: Pool,
    peer: Peer,
    onIdleTimeout: (pooled: PooledConnection) => void,
  ) {
    super();
    this.connection = connection;
    this.pool = pool;
    this.peer = peer;
    this.idleDeadline = new Deadline(() => onIdleTimeout(this));
  }
}

/** All connections of one reuse key. It counts and keeps; the connector decides. */
export class Pool {
  readonly key: string;
  readonly label: string;
  readonly line: WaitingLine;
  /** The last one in is the first one out: it is the warmest, and the others get their chance to time out. */
  readonly #idle: PooledConnection[] = [];
  /** Connections that carry an exchange. */
  busy = 0;
  /** Connections being made. */
  connecting = 0;

  constructor(peer: Peer, wheel: TimerWheel) {
    this.key = peer.reuseKey;
    this.label = peer.label;
    this.line = new WaitingLine(wheel);
  }

  /** How many connections are idle. */
  get idle(): number {
    return this.#idle.length;
  }

  /** Whether one more connection may be made under `maxConnections`. */
  hasRoom(maxConnections: number): boolean {
    return maxConnections === 0 ||
      this.busy + this.connecting + this.#idle.length < maxConnections;
  }

  /** Whether nothing is left to keep it for. */
  get empty(): boolean {
    return this.busy === 0 && this.connecting === 0 && this.#idle.length === 0 &&
      this.line.size === 0;
  }

  /** The connection to use next; it leaves the idle ones. */
  pop(): PooledConnection | undefined {
    return this.#idle.pop();
  }

  /** Adds an idle connection. */
  push(pooled: PooledConnection): void {
    this.#idle.push(pooled);
  }

  /** The one that has been idle for longest. */
  get oldest(): PooledConnection | undefined {
    return this.#idle[0];
  }

  /** Takes an idle connection out. */
  remove(pooled: PooledConnection): void {
    // Searched from the old end, where what is evicted or times out is found.
    const index = this.#idle.indexOf(pooled);
    if (index >= 0) this.#idle.splice(index, 1);
  }
}
