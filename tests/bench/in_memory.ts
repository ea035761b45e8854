/**
 * What a small GET costs in our own code alone: connection, phases, balancer and pool over sockets in memory, with
 * neither kernel nor runtime in between. What this says is much surer than what a network can tell on a busy machine.
 *
 * @module
 */
import process from "node:process";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { configFromFlags } from "../../src/config/flags.ts";
import type { Config } from "../../src/config/types.ts";
import { Connector } from "../../src/connector/connector.ts";
import { PooledHttp1Connection } from "../../src/connector/http1_connection.ts";
import { UPSTREAM_LIMITS } from "../../src/http/limits.ts";
import type { ConnectionFacts } from "../../src/http/session.ts";
import { TrustedNetworks } from "../../src/http/trusted_networks.ts";
import { Http1DownstreamConnection } from "../../src/http1/downstream_connection.ts";
import { CHUNK_LIMITS } from "../../src/http1/limits.ts";
import { PhaseEngine } from "../../src/proxy/engine.ts";
import { HttpProxy } from "../../src/proxy/http_proxy.ts";
import { EMPTY_PLAN } from "../../src/proxy/plan.ts";
import { makeRoute } from "../../src/service/make_route.ts";
import { UpstreamRuntime } from "../../src/service/upstream_runtime.ts";
import type { Address } from "../../src/transport/address.ts";
import type { Socket, SocketHandler } from "../../src/transport/socket.ts";
import { BROWSER } from "./load.ts";
import { median } from "./statistics.ts";

/** What was measured. */
export interface InMemory {
  /** Microseconds of CPU per request, all threads of the process: the least seen, and the middle. */
  readonly least: number;
  readonly middle: number;
  /** The least as a ratio to a loop that is always the same. */
  readonly ratio: number;
}

const ADDRESS: Address = { kind: "tcp", host: "127.0.0.1", port: 1 };
const CONNECTIONS = 64;
const SLICES = 80;
/** Milliseconds. */
const SLICE = 40;
/** Turns that promises get to come to the end of a request. */
const TURNS = 12;

const REQUEST = new TextEncoder().encode(
  ["GET /small HTTP/1.1", "Host: 127.0.0.1:8080", ...BROWSER, "", ""].join("\r\n"),
);
const RESPONSE = new TextEncoder().encode([
  "HTTP/1.1 200 OK",
  "Server: nginx",
  "Date: Wed, 25 Nov 2026 11:00:00 GMT",
  "Content-Type: text/plain",
  "Content-Length: 115",
  "Connection: keep-alive",
  "X-Content-Type-Options: nosniff",
  "X-Frame-Options: SAMEORIGIN",
  "Referrer-Policy: strict-origin-when-cross-origin",
  "Cache-Control: public, max-age=60",
  "Vary: Accept-Encoding",
  "Strict-Transport-Security: max-age=31536000",
  "X-Request-Id: 5f0c3a9e2b7d4e61",
  "",
  "x".repeat(115),
].join("\r\n"));

/** Measures. Takes about five seconds. */
export async function measureInMemory(): Promise<InMemory> {
  const round = await makeRound();
  for (let i = 0; i < 100; i++) await round();
  const slices: number[] = [];
  for (let slice = 0; slice < SLICES; slice++) {
    const end = performance.now() + SLICE;
    const before = process.cpuUsage();
    let requests = 0;
    while (performance.now() < end) {
      await round();
      requests += CONNECTIONS;
    }
    const { user, system } = process.cpuUsage(before);
    slices.push((user + system) / requests);
  }
  const least = Math.min(...slices);
  return { least, middle: median(slices), ratio: least / calibrate() };
}

/** Everything wired as a service worker does it; the result sends one request over each connection. */
async function makeRound(): Promise<() => Promise<void>> {
  const wheel = new TimerWheel();
  const config = await plainConfig();
  const answering: MemorySocket[] = [];
  const facts: ConnectionFacts = { id: 1, remote: ADDRESS, local: ADDRESS, tls: null, since: 0 };
  const connector = new Connector({
    wheel,
    poolSize: 2 * CONNECTIONS,
    limits: UPSTREAM_LIMITS,
    chunkLimits: CHUNK_LIMITS,
    clearTextEngine: "deno",
    open: (peer) => {
      const socket = new MemorySocket(() => answering.push(socket));
      const { firstByteTimeout, readTimeout, writeTimeout } = peer.options;
      return Promise.resolve(
        new PooledHttp1Connection(socket, facts, {
          limits: UPSTREAM_LIMITS,
          chunkLimits: CHUNK_LIMITS,
          wheel,
          timeouts: { firstByteTimeout, readTimeout, writeTimeout },
        }),
      );
    },
  });
  const { upstreams } = new UpstreamRuntime({
    config,
    state: { endpoints: {}, flips: [], settings: [], names: {}, stickySecret: "for the bench" },
    wheel,
    listener: { groupChanged() {}, healthChanged() {}, breakerChanged() {} },
    before: null,
    onAttempt: null,
  });
  const base = makeRoute(config.services[0]!.routes[0]!, { connector, upstreams, wheel });
  const route = { ...base, plan: EMPTY_PLAN };
  const proxy = new HttpProxy({
    engine: new PhaseEngine(() => {}),
    connector,
    upstreams,
    wheel,
    route: () => route,
    maxRetries: config.server.maxRetries,
    onFinished() {},
    onReleased() {},
    onTunnel() {},
    onError(_exchange, error) {
      throw error;
    },
  });
  const { limits, forwarded, allowConnect, abortOnClose } = config.listeners[0]!;
  const forward = {
    trusted: new TrustedNetworks([]),
    fields: forwarded,
    clientCert: "off",
  } as const;
  const clients = Array.from({ length: CONNECTIONS }, () => {
    const socket = new MemorySocket(() => {});
    const options = {
      listener: "bench",
      limits: { ...limits, requestsPerConnection: 0 },
      chunkLimits: CHUNK_LIMITS,
      wheel,
      allowConnect,
      abortOnClose,
      serve: (session: Parameters<HttpProxy["serve"]>[0]) =>
        proxy.serve(session, { forward, bodyBuffer: 0 }),
      refuse(error: Error): never {
        throw error;
      },
    };
    new Http1DownstreamConnection(socket, facts, options, () => {}).start();
    return socket;
  });
  return async () => {
    for (const client of clients) client.deliver(REQUEST);
    // Only the first time are there connections to wait for.
    while (answering.length < clients.length) await new Promise((resolve) => setTimeout(resolve));
    for (const upstream of answering.splice(0)) {
      upstream.deliver(RESPONSE);
      for (let turn = 0; turn < TURNS; turn++) await undefined;
    }
  };
}

async function plainConfig(): Promise<Config> {
  const { config } = await configFromFlags({ upstream: "127.0.0.1:1", threads: 1 }, () => []);
  return config!;
}

/** A connection whose other end the bench is. */
class MemorySocket implements Socket {
  handler!: SocketHandler;
  readonly remote = ADDRESS;
  readonly local = ADDRESS;
  readonly tls = null;
  closed = false;
  readonly pending = 0;
  readonly #onWrite: () => void;
  #reading = false;

  constructor(onWrite: () => void) {
    this.#onWrite = onWrite;
  }

  read(): void {
    this.#reading = true;
  }

  write(): boolean {
    this.#onWrite();
    return true;
  }

  closeWrite(): void {}

  close(): void {
    this.closed = true;
  }

  destroy(): void {
    this.closed = true;
  }

  deliver(bytes: Uint8Array): void {
    if (!this.#reading) throw new Error("Nobody reads: the request before is not over");
    this.#reading = false;
    this.handler.readBuffer().set(bytes);
    this.handler.onRead(bytes.length);
  }
}

/** Microseconds that a walk over a request's bytes takes here, as often as it takes to be told. */
function calibrate(): number {
  let least = Infinity;
  let sum = 0;
  for (let pass = 0; pass < 30; pass++) {
    const before = process.cpuUsage();
    for (let i = 0; i < 5_000; i++) {
      for (let at = 0; at < REQUEST.length; at++) sum = (sum * 31 + REQUEST[at]!) | 0;
    }
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 5_000);
  }
  return sum === 0 ? least + 1e-9 : least;
}
