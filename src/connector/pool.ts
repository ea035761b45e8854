/**
 * The connections that share one reuse key, and one connection as the connector sees it.
 *
 * @module
 */
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamSession } from "../http/session.ts";
import type { History } from "./history.ts";
import { IdleNode } from "./idle_list.ts";
import type { Peer } from "./peer.ts";
import { WaitingLine } from "./waiting_line.ts";
import type { Warmer } from "./warmer.ts";

/** What the connector needs of an upstream connection, whatever it speaks. */
export interface PoolableConnection {
  /** Called when an exchange is over and the connection can carry another. */
  onIdle: (() => void) | null;
  /** Called when the connection is gone, for whatever reason. */
  onClosed: (() => void) | null;
  readonly closed: boolean;
  /** Whether it was closed because of bytes that answer no request. */
  readonly stray?: boolean;
  /** Called before it waits in the pool without having carried a request: it must notice when the peer closes it. */
  park?(): void;
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
  /** Requests that it was given. */
  requests = 0;
  /** When it was made, milliseconds of the connector's clock. */
  readonly since: number;
  /** Ends its time in the pool. */
  readonly idleDeadline: Deadline;

  constructor(
    connection: PoolableConnection,
    pool: Pool,
    peer: Peer,
    since: number,
    onIdleTimeout: (pooled: PooledConnection) => void,
  ) {
    super();
    this.connection = connection;
    this.pool = pool;
    this.peer = peer;
    this.since = since;
    this.idleDeadline = new Deadline(() => onIdleTimeout(this));
  }
}

/** All connections of one reuse key. It counts and keeps; the connector decides. */
export class Pool {
  readonly key: string;
  readonly label: string;
  readonly line: WaitingLine;
  readonly history: History;
  /** Keeps idle ones ready, if somebody asked for it. */
  warmer: Warmer | null = null;
  /** The last one in is the first one out: it is the warmest, and the others get their chance to time out. */
  readonly #idle: PooledConnection[] = [];
  /** Connections that carry an exchange. */
  busy = 0;
  /** Connections being made. */
  connecting = 0;

  constructor(peer: Peer, wheel: TimerWheel, history: History) {
    this.key = peer.reuseKey;
    this.label = peer.label;
    this.line = new WaitingLine(wheel);
    this.history = history;
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
      this.line.size === 0 && this.warmer === null;
  }

  /**
   * The connection to use next; it leaves the idle ones.
   *
   * @param clientKey `Peer.clientKey` of who wants it: a connection that was announced for somebody else is not for him.
   */
  pop(clientKey: string): PooledConnection | undefined {
    const idle = this.#idle;
    for (let at = idle.length - 1; at >= 0; at--) {
      const pooled = idle[at]!;
      if (pooled.peer.clientKey !== clientKey) continue;
      if (at === idle.length - 1) idle.pop();
      else idle.splice(at, 1);
      return pooled;
    }
    return undefined;
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
