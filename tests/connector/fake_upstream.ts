/**
 * Upstream connections that are made of nothing, so that a test of the pool decides what happens when.
 *
 * @module
 */
import type { ProxyError } from "../../src/base/error.ts";
import { ManualClock } from "../../src/base/clock.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { Connector, type ConnectorOptions } from "../../src/connector/connector.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerOptions } from "../../src/connector/peer.ts";
import type { Eviction } from "../../src/connector/history.ts";
import type { PoolableConnection, SharedConnection } from "../../src/connector/pool.ts";
import type { UpstreamSession } from "../../src/http/session.ts";
import { UPSTREAM_LIMITS } from "../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../src/http1/limits.ts";

/** A connection whose exchanges end when the test says so. */
export class FakeConnection implements PoolableConnection {
  readonly peer: Peer;
  onIdle: (() => void) | null = null;
  onClosed: (() => void) | null = null;
  closed = false;
  busy = false;
  /** Whether it went to the pool unused. */
  parked = false;
  stray = false;
  methods: string[] = [];

  constructor(peer: Peer) {
    this.peer = peer;
  }

  begin(method: string): UpstreamSession {
    if (this.busy || this.closed) throw new Error("begun while busy or closed");
    this.busy = true;
    this.methods.push(method);
    return { fake: this } as unknown as UpstreamSession;
  }

  park(): void {
    this.parked = true;
  }

  /** Ends the exchange; the connection can carry another. */
  release(): void {
    this.busy = false;
    this.onIdle?.();
  }

  /** The other side closes, or the exchange ends so that nothing can follow. */
  lose(): void {
    this.busy = false;
    this.closed = true;
    this.onClosed?.();
  }

  destroy(): void {
    this.lose();
  }
}

/** A connection that carries several exchanges, which end when the test says so. */
export class FakeSharedConnection extends FakeConnection implements SharedConnection {
  capacity: number;
  upgrades = false;
  ending: Eviction | null = null;
  onSlots: (() => void) | null = null;
  onHttp1Required: (() => void) | null = null;
  #streams = 0;

  constructor(peer: Peer, capacity: number) {
    super(peer);
    this.capacity = capacity;
  }

  get streams(): number {
    return this.#streams;
  }

  override begin(method: string): UpstreamSession {
    if (this.closed || this.#streams >= this.capacity) throw new Error("begun over its capacity");
    this.#streams++;
    this.methods.push(method);
    return { fake: this } as unknown as UpstreamSession;
  }

  /** Ends one exchange. */
  override release(): void {
    this.#streams--;
    this.onSlots?.();
  }

  /** The peer allows another number of exchanges. */
  allow(capacity: number, ending: Eviction | null = null): void {
    this.capacity = capacity;
    this.ending = ending;
    this.onSlots?.();
  }

  override lose(): void {
    this.#streams = 0;
    super.lose();
  }
}

/** An attempt to connect that waits for the test. */
export interface Attempt {
  readonly peer: Peer;
  readonly signal: AbortSignal;
  succeed(): FakeConnection;
  /** The connection carries `capacity` exchanges at a time. */
  share(capacity: number, upgrades?: boolean): FakeSharedConnection;
  fail(error: ProxyError): void;
}

/** A connector over fakes, with a clock that stands still. */
export class FakeUpstreams {
  readonly clock = new ManualClock();
  readonly wheel = new TimerWheel({ clock: this.clock, tick: 10 });
  readonly connector: Connector;
  readonly made: FakeConnection[] = [];
  /** Attempts that wait, if {@linkcode manual}. */
  readonly attempts: Attempt[] = [];
  /** Whether attempts wait for the test. */
  manual = false;
  /** Exchanges that a connection carries at a time; `0`: one, as with HTTP/1. */
  capacity = 0;

  constructor(options: Partial<ConnectorOptions> = {}) {
    this.connector = new Connector({
      wheel: this.wheel,
      poolSize: 100,
      limits: UPSTREAM_LIMITS,
      chunkLimits: CHUNK_LIMITS,
      clearTextEngine: "deno",
      clock: this.clock,
      open: (peer, signal) => this.#open(peer, signal),
      ...options,
    });
  }

  /** Connects, and gives the fake behind the session. */
  async connect(
    peer: Peer,
    method = "GET",
    signal?: AbortSignal,
    fresh = false,
    upgrade = "",
  ): Promise<FakeConnection> {
    return behind(await this.connector.connect(peer, method, signal, fresh, upgrade));
  }

  /** Begins `count` requests, named by their number. */
  many(peer: Peer, count: number, signal?: AbortSignal): Promise<FakeConnection>[] {
    return Array.from({ length: count }, (_, i) => this.connect(peer, String(i), signal));
  }

  /** Takes an idle one, and gives the fake behind the session. */
  take(peer: Peer, method = "GET"): FakeConnection | null {
    const session = this.connector.take(peer, method);
    return session === null ? null : behind(session);
  }

  /** Lets `ms` milliseconds pass. */
  pass(ms: number): void {
    this.clock.advance(ms);
    this.wheel.advance();
  }

  /** Idle, active, connecting and pending, then how many pools there are. */
  get counts(): string {
    const { idle, active, connecting, pending, perPeer } = this.connector.stats();
    return `${idle} ${active} ${connecting} ${pending} ${perPeer.size}`;
  }

  #open(peer: Peer, signal: AbortSignal): Promise<FakeConnection> {
    const make = <C extends FakeConnection>(connection: C) => {
      this.made.push(connection);
      return connection;
    };
    if (!this.manual) {
      return Promise.resolve(
        make(
          this.capacity === 0
            ? new FakeConnection(peer)
            : new FakeSharedConnection(peer, this.capacity),
        ),
      );
    }
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.attempts.push({
        peer,
        signal,
        succeed: () => {
          const connection = make(new FakeConnection(peer));
          resolve(connection);
          return connection;
        },
        share: (capacity, upgrades = false) => {
          const connection = make(new FakeSharedConnection(peer, capacity));
          connection.upgrades = upgrades;
          resolve(connection);
          return connection;
        },
        fail: reject,
      });
    });
  }
}

/** A peer that speaks whatever it chooses by ALPN. */
export function autoPeer(options: Partial<PeerOptions> = {}, port = 443): Peer {
  return createPeer({
    address: { kind: "tcp", host: "192.0.2.1", port },
    tls: {
      serverName: "a.test",
      alternativeName: null,
      verify: true,
      verifyHostname: true,
      ca: null,
      clientCertificate: null,
    },
    options: { ...PEER_OPTIONS, protocol: "auto", ...options },
  });
}

/** A peer with the options that a test cares for. */
export function fakePeer(options: Partial<PeerOptions> = {}, port = 80): Peer {
  return createPeer({
    address: { kind: "tcp", host: "192.0.2.1", port },
    options: { ...PEER_OPTIONS, ...options },
  });
}

function behind(session: UpstreamSession): FakeConnection {
  return (session as unknown as { fake: FakeConnection }).fake;
}

/** Why connections to a peer ended, as `reason:count`. */
export function evicted(upstreams: FakeUpstreams, peer: Peer): string {
  const { evicted } = upstreams.connector.stats().history.get(peer.label)!;
  return Object.entries(evicted).filter(([, count]) => count > 0).map((one) => one.join(":"))
    .join();
}

/** Lets whatever is ready happen. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 60; i++) await Promise.resolve();
}
