/**
 * The connections that share one reuse key, and one connection as the connector sees it.
 *
 * @module
 */
import type { RosterMember } from "../base/roster.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamSession } from "../http/session.ts";
import type { Gathering } from "./gathering.ts";
import type { Eviction, History } from "./history.ts";
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
  /** Begins an exchange. Only while idle, or while there are fewer `streams` than its `capacity`. */
  begin(method: string): UpstreamSession;
  /** Closes it at once. */
  destroy(): void;
}

/** A connection that carries several exchanges at a time. It calls `onSlots` in place of `onIdle`. */
export interface SharedConnection extends PoolableConnection {
  /** Exchanges that it may carry at a time; `0`, and never again more, once it takes no others. */
  readonly capacity: number;
  /** Exchanges that it carries. */
  readonly streams: number;
  /** Whether a request can switch to another protocol on it (RFC 8441). */
  readonly upgrades: boolean;
  /** Why it takes no more, or was closed, as far as the connection itself knows. */
  readonly ending: Eviction | null;
  /** Called when an exchange is over, or `capacity` has changed. */
  onSlots: (() => void) | null;
  /** Called when the peer has answered HTTP_1_1_REQUIRED. */
  onHttp1Required: (() => void) | null;
}

/** The connection as one that carries several exchanges, or `null` if it carries one. */
export function asShared(connection: PoolableConnection): SharedConnection | null {
  return "capacity" in connection ? connection as SharedConnection : null;
}

/** Where a connection is. */
export type Place = "busy" | "idle" | "gone";

/** A connection with its place in a pool. */
export class PooledConnection extends IdleNode implements RosterMember {
  readonly connection: PoolableConnection;
  /** The same, if it carries several exchanges at a time. */
  readonly shared: SharedConnection | null;
  readonly pool: Pool;
  rosterPlace = -1;
  /** Whose options hold: the peer that used it last. */
  peer: Peer;
  place: Place = "busy";
  /** Requests that it was given. */
  requests = 0;
  /** Why it gets no more of them: it goes when the last one is over. Only of shared ones. */
  retired: Eviction | null = null;
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
    this.shared = asShared(connection);
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
  /** Busy connections that can carry another exchange beside those they do; the last one is used first. */
  readonly sharing: PooledConnection[] = [];
  /** Requests that wait for connections being made, which may carry several of them. */
  readonly gatherings: Gathering[] = [];
  /** Connections that carry an exchange. */
  busy = 0;
  /** Those of them that take no other, and go when the last one is over. */
  retired = 0;
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
      this.busy - this.retired + this.connecting + this.#idle.length < maxConnections;
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

  /** A busy connection that can carry one more exchange, or `undefined`. It stays where it is. */
  sharer(clientKey: string): PooledConnection | undefined {
    const { sharing } = this;
    for (let at = sharing.length - 1; at >= 0; at--) {
      if (sharing[at]!.peer.clientKey === clientKey) return sharing[at];
    }
    return undefined;
  }

  /** Notes whether a busy connection can carry one more exchange. */
  share(pooled: PooledConnection, can: boolean): void {
    const { sharing } = this;
    const at = sharing.lastIndexOf(pooled);
    if (can === at >= 0) return;
    if (can) sharing.push(pooled);
    else sharing.splice(at, 1);
  }

  /** Those who wait for a connection that is being made and have room for one more, or `undefined`. */
  gathering(clientKey: string): Gathering | undefined {
    return this.gatherings.find((one) => one.clientKey === clientKey && one.hasSeat);
  }

  /** The connection that they wait for is there, or will not be. */
  disband(gathering: Gathering | null): void {
    if (gathering !== null) this.gatherings.splice(this.gatherings.indexOf(gathering), 1);
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
