/**
 * What a small GET costs in our own code alone: connection, phases, balancer and pool over sockets in memory, with
 * neither kernel nor runtime in between. What this says is much surer than what a network can tell on a busy machine.
 *
 * @module
 */
import process from "node:process";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/types.ts";
import { Connector } from "../../src/connector/connector.ts";
import { http2Limits } from "../../src/connector/make_connection.ts";
import { PooledHttp1Connection } from "../../src/connector/http1_connection.ts";
import { UPSTREAM_LIMITS } from "../../src/http/limits.ts";
import type { ConnectionFacts } from "../../src/http/session.ts";
import { TrustedNetworks } from "../../src/http/trusted_networks.ts";
import type { Peer } from "../../src/connector/peer.ts";
import type { PoolableConnection } from "../../src/connector/pool.ts";
import { Http1DownstreamConnection } from "../../src/http1/downstream_connection.ts";
import { CHUNK_LIMITS } from "../../src/http1/limits.ts";
import { Http2DownstreamConnection } from "../../src/http2/downstream_connection.ts";
import { Http2UpstreamConnection } from "../../src/http2/upstream_connection.ts";
import { PhaseEngine } from "../../src/proxy/engine.ts";
import { HttpProxy } from "../../src/proxy/http_proxy.ts";
import { EMPTY_PLAN } from "../../src/proxy/plan.ts";
import { compileRule, type RuleParts } from "../../src/proxy/rules.ts";
import { makeRoute } from "../../src/service/make_route.ts";
import { UpstreamRuntime } from "../../src/service/upstream_runtime.ts";
import { nearPlugin } from "./hook_ends.ts";
import { type FieldPairs, Http2Client, Http2Origin } from "./http2_ends.ts";
import { BROWSER } from "./load.ts";
import { ADDRESS, MemorySocket } from "./memory_socket.ts";
import { median } from "./statistics.ts";

/** What was measured. */
export interface InMemory {
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** Microseconds of CPU per request, all threads of the process: the least seen, and the middle. */
  readonly least: number;
  readonly middle: number;
  /** The least as a ratio to a loop that is always the same. */
  readonly ratio: number;
}

const CONNECTIONS = 64;
const HTTP2_CONNECTIONS = 8;
const STREAMS = 32;
const SLICES = 80;
/** Milliseconds. */
const SLICE = 40;
/** Turns that promises get to come to the end of a request. */
const TURNS = 12;

const OWNER = { onClosed() {} };

const REQUEST = new TextEncoder().encode(
  ["GET /small HTTP/1.1", "Host: 127.0.0.1:8080", ...BROWSER, "", ""].join("\r\n"),
);
const REQUEST_FIELDS: FieldPairs = [
  [":method", "GET"],
  [":scheme", "http"],
  [":authority", "127.0.0.1:8080"],
  [":path", "/small"],
  ...BROWSER.map(pairOf),
];
const ANSWER = [
  "Server: nginx",
  "Date: Wed, 25 Nov 2026 11:00:00 GMT",
  "Content-Type: text/plain",
  "Content-Length: 115",
  "X-Content-Type-Options: nosniff",
  "X-Frame-Options: SAMEORIGIN",
  "Referrer-Policy: strict-origin-when-cross-origin",
  "Cache-Control: public, max-age=60",
  "Vary: Accept-Encoding",
  "Strict-Transport-Security: max-age=31536000",
  "X-Request-Id: 5f0c3a9e2b7d4e61",
];
const CONTENT = new TextEncoder().encode("x".repeat(115));
const RESPONSE = new TextEncoder().encode([
  "HTTP/1.1 200 OK",
  ...ANSWER.toSpliced(4, 0, "Connection: keep-alive"),
  "",
  "x".repeat(CONTENT.length),
].join("\r\n"));
const RESPONSE_FIELDS: FieldPairs = [[":status", "200"], ...ANSWER.map(pairOf)];

const ANSWERS: RuleParts = {
  match: {},
  request: {},
  response: {},
  respond: {
    status: 200,
    headers: { "content-type": "text/plain" },
    body: "x".repeat(CONTENT.length),
  },
};

function pairOf(line: string): readonly [string, string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
}

/** What is spoken by the client and by the origin. */
const PATHS = {
  "code": { title: "a small GET", client: "h1", origin: "h1" },
  "code-answer": { title: "a small GET that a rule answers", client: "h1", origin: "none" },
  "code-hook": {
    title: "a small GET with two hooks in a sandbox of the same thread",
    client: "h1",
    origin: "h1",
    hooked: true,
  },
  "code-h2": { title: "a small GET by HTTP/2", client: "h2", origin: "h1" },
  "code-h2-h2": { title: "a small GET by HTTP/2 on both sides", client: "h2", origin: "h2" },
} as const satisfies Record<
  string,
  { title: string; client: "h1" | "h2"; origin: "h1" | "h2" | "none"; hooked?: boolean }
>;

/** A row of our own code. */
export type CodePath = keyof typeof PATHS;

/** Every row, in order. */
export const CODE_PATHS: readonly CodePath[] = Object.keys(PATHS) as CodePath[];

/** Measures one. Takes about four seconds. */
export async function measureInMemory(name: CodePath): Promise<InMemory> {
  const { title } = PATHS[name];
  const wheel = new TimerWheel();
  const { round, requests } = await makeRound(name, wheel);
  for (let i = 0; i < 100; i++) await round();
  const slices: number[] = [];
  for (let slice = 0; slice < SLICES; slice++) {
    const end = performance.now() + SLICE;
    const before = process.cpuUsage();
    let rounds = 0;
    while (performance.now() < end) {
      await round();
      rounds++;
    }
    const { user, system } = process.cpuUsage(before);
    slices.push((user + system) / (rounds * requests));
  }
  wheel.close();
  const least = Math.min(...slices);
  return { name, title, least, middle: median(slices), ratio: least / calibrate() };
}

/** So many requests at a time, from clients to origins and back. */
interface Round {
  readonly requests: number;
  readonly round: () => Promise<void>;
}

/** Everything wired as a service worker does it. */
async function makeRound(name: CodePath, wheel: TimerWheel): Promise<Round> {
  const { client, origin, hooked = false }: (typeof PATHS)[CodePath] & { hooked?: boolean } =
    PATHS[name];
  const config = await plainConfig(origin === "none" ? "h1" : origin);
  const facts: ConnectionFacts = { id: 1, remote: ADDRESS, local: ADDRESS, tls: null, since: 0 };
  const origins = origin === "h2" ? new Http2Origins() : new Http1Origins(hooked);
  const connector = new Connector({
    wheel,
    poolSize: 1000,
    limits: UPSTREAM_LIMITS,
    chunkLimits: CHUNK_LIMITS,
    clearTextEngine: "deno",
    open: (peer, signal) => origins.open(peer, signal, facts, wheel),
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
  const route = {
    ...base,
    plan: hooked ? await nearPlugin(wheel) : EMPTY_PLAN,
    rules: origin === "none" ? [compileRule(ANSWERS)] : [],
  };
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
  const { limits, forwarded, allowConnect, abortOnClose, http2 } = config.listeners[0]!;
  const forward = {
    trusted: new TrustedNetworks([]),
    fields: forwarded,
    clientCert: "off",
  } as const;
  const options = {
    listener: "bench",
    limits: { ...limits, requestsPerConnection: 0 },
    http2,
    chunkLimits: CHUNK_LIMITS,
    wheel,
    allowConnect,
    abortOnClose,
    serve: (session: Parameters<HttpProxy["serve"]>[0]) =>
      proxy.serve(session, { forward, bodyBuffer: 0 }),
    refuse(error: Error): never {
      throw error;
    },
    onFault(error: Error): never {
      throw error;
    },
  };
  return client === "h1"
    ? http1Clients(
      origin === "none" ? null : origins,
      (socket) => new Http1DownstreamConnection(socket, facts, options, OWNER),
    )
    : await http2Clients(
      origins,
      (socket) => new Http2DownstreamConnection(socket, facts, options, OWNER),
    );
}

function http1Clients(
  origins: Origins | null,
  connect: (socket: MemorySocket) => { start(): void },
): Round {
  const sockets = Array.from({ length: CONNECTIONS }, () => {
    const socket = new MemorySocket(() => {});
    connect(socket).start();
    return socket;
  });
  return {
    requests: CONNECTIONS,
    async round() {
      for (const socket of sockets) socket.deliver(REQUEST);
      await origins?.answer(CONNECTIONS);
    },
  };
}

async function http2Clients(
  origins: Origins,
  connect: (socket: MemorySocket) => { start(): void },
): Promise<Round> {
  const clients = Array.from({ length: HTTP2_CONNECTIONS }, () => {
    const socket: MemorySocket = new MemorySocket((bytes) => client.take(bytes));
    const client = new Http2Client(socket, REQUEST_FIELDS, STREAMS, STREAMS * CONTENT.length);
    connect(socket).start();
    return client;
  });
  let answered = 0;
  const expect = async (requests: number) => {
    await origins.answer(requests);
    answered += requests;
    const sum = clients.reduce((all, one) => all + one.answered, 0);
    if (sum !== answered) throw new Error(`${sum} requests were answered, not ${answered}`);
  };
  for (const client of clients) client.open();
  await expect(clients.length);
  return {
    requests: clients.length * STREAMS,
    async round() {
      for (const client of clients) client.ask();
      await expect(clients.length * STREAMS);
    },
  };
}

/** The other ends of upstream connections. */
interface Origins {
  open(
    peer: Peer,
    signal: AbortSignal,
    facts: ConnectionFacts,
    wheel: TimerWheel,
  ): Promise<PoolableConnection>;
  /** Answers so many requests, and sees them through. */
  answer(requests: number): Promise<void>;
}

class Http1Origins implements Origins {
  readonly #asked: MemorySocket[] = [];
  readonly #together: boolean;

  /** @param together Whether answers come at the same time, as calls of hooks do that travel together. */
  constructor(together: boolean) {
    this.#together = together;
  }

  open(
    { options }: Peer,
    _signal: AbortSignal,
    facts: ConnectionFacts,
    wheel: TimerWheel,
  ): Promise<PoolableConnection> {
    const socket: MemorySocket = new MemorySocket(() => this.#asked.push(socket));
    const { firstByteTimeout, readTimeout, writeTimeout } = options;
    return Promise.resolve(
      new PooledHttp1Connection(socket, facts, {
        limits: UPSTREAM_LIMITS,
        chunkLimits: CHUNK_LIMITS,
        wheel,
        timeouts: { firstByteTimeout, readTimeout, writeTimeout },
      }),
    );
  }

  async answer(requests: number): Promise<void> {
    for (let turn = 1; this.#asked.length < requests; turn++) {
      // Only the first time are there connections to wait for.
      if (turn % (4 * TURNS) === 0) await macrotask();
      else await undefined;
    }
    for (const socket of this.#asked.splice(0)) {
      socket.deliver(RESPONSE);
      if (!this.#together) await microtasks(TURNS);
    }
    await microtasks(this.#together ? 4 * TURNS : 0);
  }
}

class Http2Origins implements Origins {
  readonly #origins: { readonly socket: MemorySocket; readonly origin: Http2Origin }[] = [];

  async open(
    { options }: Peer,
    signal: AbortSignal,
    facts: ConnectionFacts,
    wheel: TimerWheel,
  ): Promise<PoolableConnection> {
    const origin = new Http2Origin(RESPONSE_FIELDS, CONTENT);
    const socket = new MemorySocket((bytes) => origin.take(bytes));
    this.#origins.push({ socket, origin });
    const opening = Http2UpstreamConnection.open(socket, facts, {
      limits: http2Limits(options, UPSTREAM_LIMITS),
      wheel,
      firstByteTimeout: options.firstByteTimeout,
      readTimeout: options.readTimeout,
      informational: UPSTREAM_LIMITS.informational,
      maxStreams: options.http2.maxStreams,
      pingInterval: 0,
      pingTimeout: options.http2.pingTimeout,
    }, signal);
    socket.deliver(Http2Origin.opening(options.http2.maxStreams));
    return await opening;
  }

  async answer(requests: number): Promise<void> {
    for (let answered = 0; answered < requests;) {
      // What is asked is written at the end of a turn, and the first time there are connections to wait for.
      for (let turn = 0; turn < TURNS; turn++) await undefined;
      if (!this.#origins.some(({ origin }) => origin.waiting > 0)) await macrotask();
      for (const { socket, origin } of this.#origins) {
        if (origin.waiting === 0) continue;
        answered += origin.waiting;
        socket.deliver(origin.answers());
      }
    }
    for (let turn = 0; turn < TURNS; turn++) await undefined;
  }
}

async function microtasks(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await undefined;
}

function macrotask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

async function plainConfig(protocol: "h1" | "h2"): Promise<Config> {
  const transport = { protocol: protocol === "h2" ? "h2c" : "h1" };
  const text = JSON.stringify({
    version: 1,
    server: { threads: 1 },
    listeners: [{ name: "http", address: "127.0.0.1:8080" }],
    services: [{ name: "edge", routes: [{ id: "all", upstream: "upstream" }] }],
    upstreams: [{ name: "upstream", endpoints: ["127.0.0.1:1"], transport }],
  });
  const { config, errors } = await loadConfig("bench.yaml", {}, { readFile: () => text });
  if (config === undefined) throw new Error(JSON.stringify(errors));
  return config;
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
