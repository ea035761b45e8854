/**
 * Connections to peers: kept while they are good for another request, made when there is none, limited in number.
 *
 * @module
 */
import { type Clock, systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import { Roster, type RosterMember } from "../base/roster.ts";
import { young } from "../base/young.ts";
import type { UpstreamSession } from "../http/session.ts";
import type { ConnectTimes } from "../transport/dial.ts";
import { abortError } from "../transport/io_error.ts";
import type { BackoffOptions } from "./backoff.ts";
import { Gathering } from "./gathering.ts";
import { type Eviction, Histories } from "./history.ts";
import { IdleList } from "./idle_list.ts";
import { connectionMaker, type MakerOptions, type OpenConnection } from "./make_connection.ts";
import type { Peer } from "./peer.ts";
import { Pool, type PoolableConnection, PooledConnection } from "./pool.ts";
import { isBridged, ProtocolMemory } from "./protocol_memory.ts";
import { type ConnectorStats, countPools } from "./stats.ts";
import type { Request, Waiter } from "./waiting_line.ts";
import { MOST_WARM, Warmer } from "./warmer.ts";

/** Options of {@linkcode Connector}. */
export interface ConnectorOptions extends MakerOptions {
  /** Idle connections kept over all peers; beyond it the one that has been idle for longest is closed. */
  readonly poolSize: number;
  /** Makes a connection; a test may put its own here. Default: over TCP, TLS or a unix socket. */
  readonly open?: OpenConnection;
  /** What ages are measured by; that of the wheel. Default: the process clock. */
  readonly clock?: Clock;
  /** How attempts to keep a peer warm slow down while they fail. Default: from one second to one minute. */
  readonly warmBackoff?: BackoffOptions;
}

/** Gives up making a connection. */
class Attempt extends AbortController implements RosterMember {
  rosterPlace = -1;
}

/** Gives sessions on connections to peers. One per service worker. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #open: OpenConnection;
  readonly #pools = new Map<string, Pool>();
  readonly #all = new Roster<PooledConnection>();
  readonly #idle = new IdleList<PooledConnection>();
  /** One for each connection being made. */
  readonly #attempts = new Roster<Attempt>();
  readonly #histories = new Histories();
  readonly #clock: Clock;
  readonly #protocols: ProtocolMemory;
  readonly #onIdleTimeout = (pooled: PooledConnection): void => {
    // Left in the wheel when it was taken: moving it when it is idle again is cheaper than taking it out.
    if (pooled.place !== "idle") return;
    this.#discard(pooled, this.#isOld(pooled) ? "max_age" : "idle_timeout");
  };
  #poolSize: number;
  #draining = false;
  #closed = false;
  #opened = 0;
  #reused = 0;
  #gone = 0;
  #failed = 0;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#poolSize = options.poolSize;
    this.#clock = options.clock ?? systemClock;
    this.#protocols = new ProtocolMemory(this.#clock);
    this.#open = options.open ?? connectionMaker(options);
  }

  /** Idle connections kept over all peers. Set lower, those that have been idle for longest are closed. */
  resize(size: number): void {
    this.#poolSize = size;
    while (this.#idle.size > size) this.#discard(this.#idle.oldest!, "lru");
  }

  /**
   * A session on a connection that is there and can carry it, at once, or `null` if there is none: beside others if
   * they may share it, else on an idle one.
   *
   * @param upgrade The protocol that the request wants to switch to, in lower case. Default: none.
   */
  take(wanted: Peer, method: string, upgrade: string = ""): UpstreamSession | null {
    const peer = wanted.http1 === null ? wanted : this.#protocols.versionFor(wanted, upgrade);
    const pool = this.#pools.get(peer.reuseKey);
    if (pool === undefined) return null;
    const { clientKey } = peer;
    // What the connections of a forgotten peer can carry is found out by making another.
    if (upgrade !== "" && peer.http1 !== null && !this.#protocols.knows(peer)) return null;
    if (pool.sharing.length > 0) {
      const session = this.#takeShared(pool, peer, method);
      if (session !== null) return session;
    }
    for (let pooled = pool.pop(clientKey); pooled !== undefined; pooled = pool.pop(clientKey)) {
      this.#idle.remove(pooled);
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
   * A session on a connection as `take` gives it, else on a new one; waits for a place if `maxConnections` are in use.
   * While a connection is being made that may be able to carry several requests, as many wait for it together.
   *
   * @param signal Gives up when it aborts: leaves the line, or closes what is half open.
   * @param fresh Leaves connections that are there alone: one to this peer has just turned out to be dead.
   * @param upgrade As in `take`.
   * @throws {ProxyError} With source `upstream`: why it could not connect, or `connection_limit`; `shutting_down`
   * after `close()`; or what the signal gives as its reason.
   */
  connect(
    peer: Peer,
    method: string,
    signal?: AbortSignal,
    fresh: boolean = false,
    upgrade: string = "",
  ): Promise<UpstreamSession> {
    if (this.#closed) return Promise.reject(closedError(peer));
    const taken = fresh ? null : this.take(peer, method, upgrade);
    if (taken !== null) return Promise.resolve(taken);
    const to = this.#protocols.versionFor(peer, upgrade);
    return this.#enter({ peer: to, method, upgrade, signal });
  }

  #enter(request: Request): Promise<UpstreamSession> {
    const { peer } = request;
    const { maxConnections } = peer.options;
    const pool = this.#poolOf(peer);
    // Nobody would free a place that an idle connection holds, which is dead or announced for another client.
    if (pool.idle > 0 && !pool.hasRoom(maxConnections)) this.#discard(pool.oldest!, "replaced");
    const mayShare = this.#protocols.mayShare(peer);
    const others = mayShare ? pool.gathering(peer.clientKey) : undefined;
    if (others !== undefined) return others.join(request);
    if (!pool.hasRoom(maxConnections)) return pool.line.join(request);
    return mayShare ? this.#gather(pool, peer).join(request) : this.#connect(pool, request);
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
    const { all, perPeer } = countPools(this.#pools.values(), this.#all.all);
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
    for (const pooled of this.#all.all) if (pooled.shared !== null) this.#onSlots(pooled);
  }

  /** Closes everything at once; who waits or connects gets `shutting_down`. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.drain();
    for (const attempt of this.#attempts.all) attempt.abort();
    for (const pool of [...this.#pools.values()]) {
      pool.warmer?.stop();
      pool.warmer = null;
      for (let one = pool.line.next(); one !== null; one = pool.line.next()) {
        one.reject(closedError(one.peer));
      }
      this.#forget(pool);
    }
    for (const pooled of this.#all.all) this.#discard(pooled, "shutdown");
  }

  async #connect(pool: Pool, { peer, method, signal }: Request): Promise<UpstreamSession> {
    return this.#begin(await this.#make(pool, peer, signal), peer, method);
  }

  /** Begins to make a connection for those who will join. */
  #gather(pool: Pool, peer: Peer): Gathering {
    const gathering = new Gathering(peer.clientKey, this.#protocols.streams(peer));
    pool.gatherings.push(gathering);
    this.#make(pool, peer, gathering.signal, gathering).then(
      (pooled) => this.#seat(pooled, gathering),
      (error) => gathering.fail(error),
    );
    return gathering;
  }

  /** A connection that several have waited for is there: it carries those that it can. */
  #seat(pooled: PooledConnection, gathering: Gathering): void {
    const { shared } = pooled;
    let carried = 0;
    for (let one = gathering.next(); one !== null; one = gathering.next()) {
      const hasSlot = shared === null ? carried === 0 : this.#hasSlot(pooled);
      if (shared !== null && !canSwitch(one, shared.upgrades)) {
        this.#again(one);
      } else if (hasSlot || carried === 0) {
        // Each connection serves somebody, or fails him, so that going round comes to an end.
        if (carried++ > 0) this.#countReuse(pooled.pool);
        this.#give(pooled, one);
      } else {
        this.#again(one);
      }
    }
    if (shared !== null) this.#onSlots(pooled);
    else if (carried === 0) this.#released(pooled);
  }

  #again({ peer, method, signal, upgrade, resolve, reject }: Waiter): void {
    this.connect(peer, method, signal, false, upgrade).then(resolve, reject);
  }

  #give(pooled: PooledConnection, { peer, method, resolve, reject }: Waiter): void {
    try {
      resolve(this.#begin(pooled, peer, method));
    } catch (error) {
      reject(error);
    }
  }

  /** Makes a connection, which counts as busy. */
  async #make(
    pool: Pool,
    peer: Peer,
    signal: AbortSignal | undefined,
    gathering: Gathering | null = null,
  ): Promise<PooledConnection> {
    pool.connecting++;
    const attempt = new Attempt();
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
      pool.disband(gathering);
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
    pool.disband(gathering);
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
    const { shared } = pooled;
    if (peer.mayShare) this.#protocols.learn(peer, shared);
    connection.onIdle = young(() => this.#released(pooled));
    if (shared !== null) {
      shared.onSlots = young(() => this.#onSlots(pooled));
      if (peer.http1 !== null) {
        shared.onHttp1Required = young(() => this.#protocols.requireHttp1(peer));
      }
    }
    connection.onClosed = young(() =>
      this.#discard(
        pooled,
        connection.stray === true
          ? "stray_bytes"
          : shared?.ending ?? (pooled.place === "idle" ? "peer_closed" : "not_reusable"),
      )
    );
    return pooled;
  }

  #takeShared(pool: Pool, peer: Peer, method: string): UpstreamSession | null {
    for (;;) {
      const pooled = pool.sharer(peer.clientKey);
      if (pooled === undefined) return null;
      if (this.#hasSlot(pooled)) return this.#reuse(pooled, peer, method);
      this.#onSlots(pooled);
      pool.share(pooled, false);
    }
  }

  /** Whether a shared connection can carry one exchange more. */
  #hasSlot(pooled: PooledConnection): boolean {
    const { retired, connection } = pooled;
    const { streams, capacity } = pooled.shared!;
    return retired === null && streams < capacity && !connection.closed && !this.#isOld(pooled);
  }

  #reuse(pooled: PooledConnection, peer: Peer, method: string): UpstreamSession {
    this.#countReuse(pooled.pool);
    return this.#begin(pooled, peer, method);
  }

  #countReuse(pool: Pool): void {
    this.#reused++;
    pool.history.reused++;
  }

  #begin(pooled: PooledConnection, peer: Peer, method: string): UpstreamSession {
    pooled.requests++;
    pooled.peer = peer;
    const session = pooled.connection.begin(method);
    if (pooled.shared !== null) {
      const { maxRequests } = peer.options;
      if (maxRequests > 0 && pooled.requests >= maxRequests) this.#retire(pooled, "max_requests");
      pooled.pool.share(pooled, this.#hasSlot(pooled));
    }
    return session;
  }

  /** The exchanges that a shared connection carries, or may carry, are others now. */
  #onSlots(pooled: PooledConnection): void {
    const { pool, place } = pooled;
    const shared = pooled.shared!;
    if (place === "gone") return;
    if (shared.capacity === 0) this.#retire(pooled, shared.ending ?? "not_reusable");
    else if (this.#draining) this.#retire(pooled, "shutdown");
    else if (this.#isOld(pooled)) this.#retire(pooled, "max_age");
    while (place === "busy" && this.#hasSlot(pooled)) {
      const waiter = pool.line.first;
      if (waiter === null || waiter.peer.clientKey !== pooled.peer.clientKey) break;
      pool.line.next();
      this.#countReuse(pool);
      this.#give(pooled, waiter);
    }
    if (shared.streams > 0) pool.share(pooled, this.#hasSlot(pooled));
    else if (pooled.retired !== null) this.#discard(pooled, pooled.retired);
    else this.#released(pooled);
  }

  /** A shared connection takes no more: it finishes what it carries, and others may be made in its place. */
  #retire(pooled: PooledConnection, why: Eviction): void {
    if (pooled.retired !== null) return;
    pooled.retired = why;
    const { pool } = pooled;
    pool.retired++;
    if (pooled.place === "busy" && pool.line.size > 0) this.#placeFreed(pool);
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
    if (maxIdle === 0 || this.#poolSize === 0) return this.#discard(pooled, "not_pooled");
    while (pool.idle >= maxIdle) this.#discard(pool.oldest!, "lru");
    while (this.#idle.size >= this.#poolSize) this.#discard(this.#idle.oldest!, "lru");
    pool.busy--;
    pooled.place = "idle";
    if (pooled.shared !== null) pool.share(pooled, false);
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
    } else {
      pool.busy--;
      if (pooled.shared !== null) pool.share(pooled, false);
    }
    pooled.place = "gone";
    if (pooled.retired !== null) pool.retired--;
    this.#options.wheel.cancel(pooled.idleDeadline);
    this.#gone++;
    pool.history.evicted[why]++;
    this.#all.delete(pooled);
    pooled.connection.onIdle = null;
    pooled.connection.onClosed = null;
    if (pooled.shared !== null) pooled.shared.onSlots = null;
    if (!pooled.connection.closed) pooled.connection.destroy();
    this.#placeFreed(pool);
  }

  /** One connection less: who waits first gets a new one. */
  #placeFreed(pool: Pool): void {
    const waiter = this.#closed ? null : pool.line.first;
    if (waiter === null) {
      pool.warmer?.check();
      return this.#forget(pool);
    }
    // The place of a connection that was retired was given away then.
    if (!pool.hasRoom(waiter.peer.options.maxConnections)) return;
    pool.line.next();
    if (!this.#protocols.mayShare(waiter.peer)) {
      this.#connect(pool, waiter).then(waiter.resolve, waiter.reject);
      return;
    }
    const { clientKey } = waiter.peer;
    const gathering = pool.gathering(clientKey) ?? this.#gather(pool, waiter.peer);
    gathering.add(waiter);
    while (gathering.hasSeat && pool.line.first?.peer.clientKey === clientKey) {
      gathering.add(pool.line.next()!);
    }
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
    const { wheel, warmBackoff } = this.#options;
    const most = Math.min(prewarm, maxIdle, MOST_WARM);
    return new Warmer({
      wheel,
      ...(warmBackoff === undefined ? {} : { backoff: warmBackoff }),
      // Never at the cost of an idle connection of another peer, which would be made again in turn.
      wanted: () =>
        !this.#draining && pool.idle < most && this.#idle.size < this.#poolSize &&
        pool.hasRoom(maxConnections),
      open: async () => {
        const pooled = await this.#make(pool, peer, undefined);
        pooled.connection.park?.();
        if (pooled.shared === null) this.#released(pooled);
        else this.#onSlots(pooled);
      },
    });
  }
}

/** Whether a connection that carries several exchanges can carry this one, or else whether nothing else could. */
function canSwitch({ peer, upgrade }: Waiter, upgrades: boolean): boolean {
  return upgrade === "" || peer.http1 === null || (upgrades && isBridged(upgrade));
}

function closedError(peer: Peer): ProxyError {
  return new ProxyError(
    "shutting_down",
    `Connecting to ${peer.label}: the connector is closed`,
    { source: "internal" },
  );
}
