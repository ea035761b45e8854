/**
 * Connections to peers: kept while they are good for another request, made when there is none, limited in number.
 *
 * @module
 */
import { type Clock, systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamSession } from "../http/session.ts";
import type { UpstreamLimits } from "../http/limits.ts";
import type { ChunkLimits } from "../http1/limits.ts";
import type { ConnectTimes } from "../transport/dial.ts";
import { abortError } from "../transport/io_error.ts";
import type { HostResolver } from "../transport/resolver.ts";
import type { BackoffOptions } from "./backoff.ts";
import { type Eviction, Histories, type PeerHistory } from "./history.ts";
import { PooledHttp1Connection } from "./http1_connection.ts";
import { IdleList } from "./idle_list.ts";
import { openSocket } from "./open.ts";
import type { Peer } from "./peer.ts";
import { Pool, type PoolableConnection, PooledConnection } from "./pool.ts";
import { MOST_WARM, Warmer } from "./warmer.ts";

/** Options of {@linkcode Connector}. */
export interface ConnectorOptions {
  readonly wheel: TimerWheel;
  /** Idle connections kept over all peers; beyond it the one that has been idle for longest is closed. */
  readonly poolSize: number;
  readonly limits: UpstreamLimits;
  readonly chunkLimits: ChunkLimits;
  /** What carries clear-text connections. */
  readonly clearTextEngine: "deno" | "handle";
  /** Makes a connection; a test may put its own here. Default: HTTP/1 over TCP, TLS or a unix socket. */
  readonly open?: OpenConnection;
  /** Looks names up. Default: the resolver of the thread. */
  readonly resolver?: HostResolver;
  /** What ages are measured by; that of the wheel. Default: the process clock. */
  readonly clock?: Clock;
  /** How attempts to keep a peer warm slow down while they fail. Default: from one second to one minute. */
  readonly warmBackoff?: BackoffOptions;
}

/** Makes an idle connection to a peer, and fills `times` in. Closes what is half open when the signal aborts. */
export type OpenConnection = (
  peer: Peer,
  signal: AbortSignal,
  times: ConnectTimes,
) => Promise<PoolableConnection>;

/** What {@linkcode Connector.stats} tells of one peer. */
export interface PeerStats {
  idle: number;
  active: number;
  connecting: number;
  pending: number;
}

/** What {@linkcode Connector.stats} tells. */
export interface ConnectorStats {
  /** Connections that wait for a request. */
  readonly idle: number;
  /** Connections that carry one. */
  readonly active: number;
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

/** Gives sessions on connections to peers. One per service worker. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #open: OpenConnection;
  readonly #pools = new Map<string, Pool>();
  readonly #all = new Set<PooledConnection>();
  readonly #idle = new IdleList<PooledConnection>();
  /** One for each connection being made. */
  readonly #attempts = new Set<AbortController>();
  readonly #histories = new Histories();
  readonly #clock: Clock;
  readonly #onIdleTimeout = (pooled: PooledConnection): void =>
    this.#discard(pooled, this.#isOld(pooled) ? "max_age" : "idle_timeout");
  #draining = false;
  #closed = false;
  #nextId = 1;
  #opened = 0;
  #reused = 0;
  #gone = 0;
  #failed = 0;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#open = options.open ??
      ((peer, signal, times) => this.#openHttp1(peer, signal, times));
  }

  /** A session on an idle connection, at once, or `null` if there is none. */
  take(peer: Peer, method: string): UpstreamSession | null {
    const pool = this.#pools.get(peer.reuseKey);
    if (pool === undefined) return null;
    const { clientKey } = peer;
    for (let pooled = pool.pop(clientKey); pooled !== undefined; pooled = pool.pop(clientKey)) {
      this.#idle.remove(pooled);
      this.#options.wheel.cancel(pooled.idleDeadline);
      pooled.place = "busy";
      pool.busy++;
      if (pooled.connection.closed) {
        this.#discard(pooled, "peer_closed");
        continue;
      }
      pool.warmer?.check();
      return this.#reuse(pooled, peer, method);
    }
    return null;
  }

  /**
   * A session on an idle connection if there is one, else on a new one; waits for a place if `maxConnections` are
   * in use.
   *
   * @param signal Gives up when it aborts: leaves the line, or closes what is half open.
   * @param fresh Leaves idle connections alone: one to this peer has just turned out to be dead.
   * @throws {ProxyError} With source `upstream`: why it could not connect, or `connection_limit`; `shutting_down`
   * after `close()`; or what the signal gives as its reason.
   */
  connect(
    peer: Peer,
    method: string,
    signal?: AbortSignal,
    fresh: boolean = false,
  ): Promise<UpstreamSession> {
    if (this.#closed) return Promise.reject(closedError(peer));
    const taken = fresh ? null : this.take(peer, method);
    if (taken !== null) return Promise.resolve(taken);
    const pool = this.#poolOf(peer);
    // Nobody would free a place that an idle connection holds, which is dead or announced for another client.
    if (pool.idle > 0 && !pool.hasRoom(peer.options.maxConnections)) {
      this.#discard(pool.oldest!, "replaced");
    }
    return pool.hasRoom(peer.options.maxConnections)
      ? this.#connect(pool, peer, method, signal)
      : pool.line.join(peer, method, signal);
  }

  /**
   * Keeps `PeerOptions.prewarm` idle connections ready, as far as the limits of the peer and the pool allow. Not for
   * peers with the PROXY protocol, whose connections are made for one client each.
   *
   * @returns Ends it; to be called when the peer leaves its group. Connections that are there stay as they are.
   */
  keepWarm(peer: Peer): () => void {
    const { prewarm, proxyProtocol } = peer.options;
    if (prewarm === 0 || proxyProtocol !== null || this.#closed) return () => {};
    const pool = this.#poolOf(peer);
    const warmer = pool.warmer ??= this.#newWarmer(pool, peer);
    warmer.holders++;
    warmer.check();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      if (--warmer.holders > 0) return;
      warmer.stop();
      if (pool.warmer === warmer) pool.warmer = null;
      this.#forget(pool);
    };
  }

  /** What is there now and what has happened so far. */
  stats(): ConnectorStats {
    const perPeer = new Map<string, PeerStats>();
    const all = { idle: 0, active: 0, connecting: 0, pending: 0 };
    for (const pool of this.#pools.values()) {
      let one = perPeer.get(pool.label);
      if (one === undefined) {
        one = { idle: 0, active: 0, connecting: 0, pending: 0 };
        perPeer.set(pool.label, one);
      }
      for (const sum of [one, all]) {
        sum.idle += pool.idle;
        sum.active += pool.busy;
        sum.connecting += pool.connecting;
        sum.pending += pool.line.size;
      }
    }
    return {
      ...all,
      perPeer,
      opened: this.#opened,
      reused: this.#reused,
      closed: this.#gone,
      failed: this.#failed,
      history: this.#histories.all,
    };
  }

  /** Closes idle connections now, and busy ones when they are released. New ones are still made. */
  drain(): void {
    this.#draining = true;
    for (let one = this.#idle.oldest; one !== null; one = this.#idle.oldest) {
      this.#discard(one, "shutdown");
    }
  }

  /** Closes everything at once; who waits or connects gets `shutting_down`. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.drain();
    for (const attempt of [...this.#attempts]) attempt.abort();
    for (const pool of [...this.#pools.values()]) {
      pool.warmer?.stop();
      pool.warmer = null;
      for (let one = pool.line.next(); one !== null; one = pool.line.next()) {
        one.reject(closedError(one.peer));
      }
      this.#forget(pool);
    }
    for (const pooled of [...this.#all]) this.#discard(pooled, "shutdown");
  }

  async #connect(
    pool: Pool,
    peer: Peer,
    method: string,
    signal: AbortSignal | undefined,
  ): Promise<UpstreamSession> {
    const pooled = await this.#make(pool, peer, signal);
    pooled.requests++;
    return pooled.connection.begin(method);
  }

  /** Makes a connection, which counts as busy. */
  async #make(
    pool: Pool,
    peer: Peer,
    signal: AbortSignal | undefined,
  ): Promise<PooledConnection> {
    pool.connecting++;
    const attempt = new AbortController();
    const giveUp = () => attempt.abort(abortError(signal!, `Connecting to ${peer.label}`));
    if (signal?.aborted) giveUp();
    signal?.addEventListener("abort", giveUp, { once: true });
    this.#attempts.add(attempt);
    const times: ConnectTimes = { lookup: 0, connect: 0, tls: 0 };
    let connection: PoolableConnection | null = null;
    try {
      connection = await this.#open(peer, attempt.signal, times);
      // Between the end of the attempt and here somebody may have given up.
      if (attempt.signal.aborted) throw attempt.signal.reason;
    } catch (error) {
      pool.connecting--;
      this.#failed++;
      pool.history.fail(error);
      connection?.destroy();
      this.#placeFreed(pool);
      if (this.#closed) throw closedError(peer);
      throw ProxyError.wrap(error, "connect_error", `Connecting to ${peer.label}`, "upstream");
    } finally {
      signal?.removeEventListener("abort", giveUp);
      this.#attempts.delete(attempt);
    }
    pool.connecting--;
    pool.history.made(times);
    return this.#adopt(connection, pool, peer);
  }

  /** Takes over a new connection, as a busy one. */
  #adopt(connection: PoolableConnection, pool: Pool, peer: Peer): PooledConnection {
    const pooled = new PooledConnection(
      connection,
      pool,
      peer,
      this.#clock.now(),
      this.#onIdleTimeout,
    );
    this.#opened++;
    this.#all.add(pooled);
    pool.busy++;
    connection.onIdle = () => this.#released(pooled);
    connection.onClosed = () =>
      this.#discard(
        pooled,
        connection.stray === true
          ? "stray_bytes"
          : pooled.place === "idle"
          ? "peer_closed"
          : "not_reusable",
      );
    return pooled;
  }

  #reuse(pooled: PooledConnection, peer: Peer, method: string): UpstreamSession {
    this.#reused++;
    pooled.pool.history.reused++;
    pooled.requests++;
    pooled.peer = peer;
    return pooled.connection.begin(method);
  }

  #isOld(pooled: PooledConnection): boolean {
    const { maxAge } = pooled.peer.options;
    return maxAge > 0 && this.#clock.now() - pooled.since >= maxAge;
  }

  /** A connection is free: it goes to who waits, to the pool, or away. */
  #released(pooled: PooledConnection): void {
    if (pooled.place !== "busy") return;
    const { pool, peer } = pooled;
    const { idleTimeout, maxIdle, maxAge, maxRequests } = peer.options;
    if (this.#draining) return this.#discard(pooled, "shutdown");
    if (idleTimeout === 0) return this.#discard(pooled, "not_pooled");
    if (maxRequests > 0 && pooled.requests >= maxRequests) {
      return this.#discard(pooled, "max_requests");
    }
    let patience = idleTimeout;
    if (maxAge > 0) {
      const left = maxAge - (this.#clock.now() - pooled.since);
      if (left <= 0) return this.#discard(pooled, "max_age");
      if (left < patience) patience = left;
    }
    const waiter = pool.line.first;
    if (waiter !== null) {
      if (waiter.peer.clientKey !== peer.clientKey) return this.#discard(pooled, "replaced");
      pool.line.next();
      return waiter.resolve(this.#reuse(pooled, waiter.peer, waiter.method));
    }
    if (maxIdle === 0 || this.#options.poolSize === 0) return this.#discard(pooled, "not_pooled");
    while (pool.idle >= maxIdle) this.#discard(pool.oldest!, "lru");
    while (this.#idle.size >= this.#options.poolSize) this.#discard(this.#idle.oldest!, "lru");
    pool.busy--;
    pooled.place = "idle";
    pool.push(pooled);
    this.#idle.add(pooled);
    this.#options.wheel.arm(pooled.idleDeadline, patience);
  }

  /** A connection is to go, or is gone. */
  #discard(pooled: PooledConnection, why: Eviction): void {
    const { pool, place } = pooled;
    if (place === "gone") return;
    if (place === "idle") {
      pool.remove(pooled);
      this.#idle.remove(pooled);
      this.#options.wheel.cancel(pooled.idleDeadline);
    } else {
      pool.busy--;
    }
    pooled.place = "gone";
    this.#gone++;
    pool.history.evicted[why]++;
    this.#all.delete(pooled);
    pooled.connection.onIdle = null;
    pooled.connection.onClosed = null;
    if (!pooled.connection.closed) pooled.connection.destroy();
    this.#placeFreed(pool);
  }

  /** One connection less: who waits first gets a new one. */
  #placeFreed(pool: Pool): void {
    const waiter = this.#closed ? null : pool.line.next();
    if (waiter === null) {
      pool.warmer?.check();
      return this.#forget(pool);
    }
    this.#connect(pool, waiter.peer, waiter.method, waiter.signal).then(
      waiter.resolve,
      waiter.reject,
    );
  }

  #poolOf(peer: Peer): Pool {
    let pool = this.#pools.get(peer.reuseKey);
    if (pool === undefined) {
      pool = new Pool(peer, this.#options.wheel, this.#histories.of(peer.label));
      this.#pools.set(peer.reuseKey, pool);
    }
    return pool;
  }

  /** Pools of peers that nobody uses must not add up: plugins may name peers as they like. */
  #forget(pool: Pool): void {
    if (pool.empty && this.#pools.get(pool.key) === pool) this.#pools.delete(pool.key);
  }

  #newWarmer(pool: Pool, peer: Peer): Warmer {
    const { maxConnections, maxIdle, prewarm } = peer.options;
    const { wheel, poolSize, warmBackoff } = this.#options;
    const most = Math.min(prewarm, maxIdle, MOST_WARM);
    return new Warmer({
      wheel,
      ...(warmBackoff === undefined ? {} : { backoff: warmBackoff }),
      // Never at the cost of an idle connection of another peer, which would be made again in turn.
      wanted: () =>
        !this.#draining && pool.idle < most && this.#idle.size < poolSize &&
        pool.hasRoom(maxConnections),
      open: async () => {
        const pooled = await this.#make(pool, peer, undefined);
        pooled.connection.park?.();
        this.#released(pooled);
      },
    });
  }

  async #openHttp1(
    peer: Peer,
    signal: AbortSignal,
    times: ConnectTimes,
  ): Promise<PoolableConnection> {
    const { wheel, limits, chunkLimits, clearTextEngine, resolver } = this.#options;
    const socket = await openSocket(peer, { wheel, clearTextEngine, signal, resolver, times });
    const alpn = socket.tls?.alpn ?? "";
    if (alpn !== "" && alpn !== "http/1.1") {
      socket.destroy();
      throw new ProxyError(
        "tls_handshake_failure",
        `Connecting to ${peer.label}: it wants to speak "${alpn}", which is not spoken here`,
        { source: "upstream", retry: true },
      );
    }
    const { firstByteTimeout, readTimeout, writeTimeout } = peer.options;
    return new PooledHttp1Connection(socket, {
      id: this.#nextId++,
      remote: peer.address,
      local: socket.local,
      tls: socket.tls,
      since: performance.now(),
    }, {
      limits,
      chunkLimits,
      wheel,
      timeouts: { firstByteTimeout, readTimeout, writeTimeout },
    });
  }
}

function closedError(peer: Peer): ProxyError {
  return new ProxyError(
    "shutting_down",
    `Connecting to ${peer.label}: the connector is closed`,
    { source: "internal" },
  );
}
