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
import type { PoolableConnection } from "../../src/connector/pool.ts";
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

/** An attempt to connect that waits for the test. */
export interface Attempt {
  readonly peer: Peer;
  readonly signal: AbortSignal;
  succeed(): FakeConnection;
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
  ): Promise<FakeConnection> {
    return behind(await this.connector.connect(peer, method, signal, fresh));
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
    const make = () => {
      const connection = new FakeConnection(peer);
      this.made.push(connection);
      return connection;
    };
    if (!this.manual) return Promise.resolve(make());
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.attempts.push({
        peer,
        signal,
        succeed: () => {
          const connection = make();
          resolve(connection);
          return connection;
        },
        fail: reject,
      });
    });
  }
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
