/**
 * One service in one service worker: from accepted connection to the phases, and the drain of it all.
 *
 * @module
 */
import type { HealthEvent } from "../balancer/health/messages.ts";
import { ProxyError } from "../base/error.ts";
import { Roster } from "../base/roster.ts";
import { same } from "../base/same.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { ListenerCredentials } from "../config/credentials.ts";
import type { ListenerConfig } from "../config/types.ts";
import { Connector } from "../connector/connector.ts";
import type { DownstreamConnection } from "../http/downstream.ts";
import type { ConnectionFacts, DownstreamSession } from "../http/session.ts";
import { UPSTREAM_LIMITS } from "../http/limits.ts";
import { CHUNK_LIMITS } from "../http1/limits.ts";
import type { SampleSink } from "../observe/metrics/book.ts";
import { PhaseEngine } from "../proxy/engine.ts";
import { errorResponse } from "../proxy/error_response.ts";
import type { ExchangeOptions } from "../proxy/exchange.ts";
import { listen } from "../transport/listen.ts";
import type { LoopOfThread } from "../transport/epoll/left_behind.ts";
import { epollLoop } from "../transport/epoll/loop.ts";
import { epollAvailable } from "../transport/epoll/system_calls.ts";
import type { Listener } from "../transport/listener.ts";
import type { Loan } from "../transport/loan.ts";
import { type Address, type TcpAddress, unmapIpv4 } from "../transport/address.ts";
import type { Admission } from "../transport/connection_setup.ts";
import type { Socket, SocketEngine } from "../transport/socket.ts";
import type { CertificateFinder, TlsServer } from "../transport/tls_server.ts";
import { CertificateLookup } from "./certificate_lookup.ts";
import { chooseCodec, type CodecOptions } from "./choose_codec.ts";
import { ConnectionCounts } from "./connection_counts.ts";
import { Edition, type EditionOptions, type EditionTools } from "./edition.ts";
import type { WorkerLoad } from "./control.ts";
import { askedBy, exchangeOptions, proxyHeaderPolicy, socketPart } from "./listener_parts.ts";
import { OpenConnection } from "./open_connection.ts";
import type { ServiceObserver } from "./service_observer.ts";
import type { TlsListeners } from "./tls_listeners.ts";
import { tellConnections, tellRoutes, tellUpstreams } from "./upstream_metrics.ts";

/** What is left of the drain for requests that were cut, in milliseconds. */
const CUT_TIME = 500;
/** Milliseconds between two looks at whether a gentle drain is over, and whether connections are still being set up. */
const GENTLE_LOOK = 1_000;
const SETUP_LOOK = 20;

/** What a {@linkcode HttpService} is made from. */
export interface HttpServiceOptions {
  /** Name of the service. */
  readonly service: string;
  /** Position among the workers of the service. */
  readonly index: number;
  /** Where all deadlines wait. */
  readonly wheel: TimerWheel;
  /** Idle connections to upstreams that are kept, over all peers. */
  readonly poolSize: number;
  readonly observer: ServiceObserver;
  /** TLS of the listeners. */
  readonly tls: TlsListeners;
  /**
   * A descriptor of the socket that the server holds, for engine `handle` to listen on; `null`: each worker binds one.
   */
  readonly borrow: (bound: TcpAddress) => Promise<Loan | null>;
  /** Called before the first socket is watched by a loop of our own, whose sockets end with this thread only if somebody sees to it. */
  readonly onLoop: (loop: LoopOfThread) => void;
  /** Called when no request uses an edition any more that another has followed. */
  readonly onReleased: (edition: Edition) => void;
}

/** A listener at work. What is accepted from now on is served by its settings of now. */
interface Door {
  config: ListenerConfig;
  readonly listener: Listener;
  readonly tls: { readonly server: TlsServer; readonly engine: string } | null;
  exchange: ExchangeOptions;
  codec: CodecOptions;
  readonly connections: Roster<OpenConnection>;
  /** Whether clients were asked for something else here than they are now: who still comes in is not kept. */
  outdated: boolean;
}

let lastConnection = 0;

/** Listeners, connections and proxy of one service in this worker. */
export class HttpService {
  readonly #options: HttpServiceOptions;
  readonly #connector: Connector;
  readonly #engine: PhaseEngine;
  readonly #tools: EditionTools;
  readonly #doors = new Map<string, Door>();
  /** Who serves new requests. */
  #edition: Edition | null = null;
  /** All that have requests, oldest first, and the one that serves. */
  readonly #editions = new Set<Edition>();
  /** Those whose requests were cut. */
  readonly #cutEditions = new WeakSet<Edition>();
  #requestsCut = 0;
  /** What carries clear text to upstreams. */
  #clearTextEngine: SocketEngine = "deno";
  /** Of listeners that are gone, too, for as long as they have connections. */
  readonly #rosters = new Set<Roster<OpenConnection>>();
  readonly #onGone = (): void => this.#checkOver();
  readonly #counts = new ConnectionCounts();
  #loopTold = false;
  #draining: "no" | "gently" | "firmly" = "no";
  /** Whether a drain does not wait any longer. */
  #isCut = false;
  #whenOver: (() => void) | null = null;

  constructor(options: HttpServiceOptions) {
    const { wheel, observer } = options;
    this.#options = options;
    this.#engine = new PhaseEngine((handler, phase, error) =>
      observer.hookFailed(handler.name, phase, error)
    );
    const clearTextEngine = () => this.#clearTextEngine;
    this.#connector = new Connector({
      wheel,
      poolSize: options.poolSize,
      limits: UPSTREAM_LIMITS,
      chunkLimits: CHUNK_LIMITS,
      get clearTextEngine() {
        return clearTextEngine();
      },
    });
    this.#tools = {
      wheel,
      connector: this.#connector,
      engine: this.#engine,
      observer,
      kept: new WeakMap(),
      worker: `${options.service}-${options.index}`,
    };
  }

  /** What makes connections to upstreams. */
  get connector(): Connector {
    return this.#connector;
  }

  /** The edition that serves. */
  get edition(): Edition | null {
    return this.#edition;
  }

  /** Connections that are open. */
  get #openCount(): number {
    let open = 0;
    for (const { size } of this.#rosters) open += size;
    return open;
  }

  /** All of them, as of now. */
  get #connections(): DownstreamConnection[] {
    return [...this.#rosters].flatMap(({ all }) => all).map(({ connection }) => connection);
  }

  /** What it has to do now. */
  get load(): WorkerLoad {
    let connections = this.#openCount;
    let requests = 0;
    for (const { listener, connections: open } of this.#doors.values()) {
      // Those that are being set up.
      connections += Math.max(0, listener.connectionCount - open.size);
    }
    for (const edition of this.#editions) requests += edition.serving;
    return { connections, requests, retiredEditions: Math.max(0, this.#editions.size - 1) };
  }

  /** Tells what is there now, and what is counted anyway. */
  collect(sink: SampleSink): void {
    const { service } = this.#options;
    const { requests, retiredEditions } = this.load;
    sink.add("http_server_active_requests", [service], requests);
    sink.add("sluice_retired_editions", [service], retiredEditions);
    sink.add("sluice_retired_requests_cut_total", [service], this.#requestsCut);
    for (const [name, { listener: { accepted, rejected } }] of this.#doors) {
      this.#counts.of(name).accept(accepted, rejected);
    }
    this.#counts.collect(sink);
    if (this.#edition === null) return;
    const groups = this.#edition.upstreams.upstreams;
    tellRoutes(sink, this.#edition.routes);
    tellUpstreams(sink, groups.all);
    tellConnections(sink, this.#connector, groups.all);
  }

  /** Makes an edition that is not used yet. */
  make(options: Omit<EditionOptions, "before">): Edition {
    return new Edition({ ...options, before: this.#edition }, this.#tools);
  }

  /** New requests go to this edition from now on. */
  use(edition: Edition): void {
    const old = this.#edition;
    this.#edition = edition;
    this.#editions.add(edition);
    this.#connector.resize(edition.config.server.upstreamKeepalivePoolSize);
    this.#clearTextEngine = edition.clearTextEngine;
    for (const door of this.#doors.values()) {
      const config = edition.config.listeners.find(({ name }) => name === door.config.name);
      if (
        config !== undefined && !same(config, door.config) && this.#fits(door, config)
      ) this.#refit(door, config);
    }
    if (old === null) return;
    old.whenOver(() => {
      if (!this.#editions.delete(old)) return;
      this.#options.onReleased(old);
      this.#checkOver();
    });
    this.#limitEditions(edition.config.server.maxRetiredEditions);
  }

  /** Cuts the requests of the oldest editions where more than `most` have some left beside the one that serves. */
  #limitEditions(most: number): void {
    const left = [...this.#editions].slice(0, -1).filter((one) => !this.#cutEditions.has(one));
    for (const edition of left.slice(0, Math.max(0, left.length - most))) {
      this.#cutEditions.add(edition);
      const error = new ProxyError(
        "shutting_down",
        "Request: cut, because too many reloads have followed its config",
        { source: "internal" },
      );
      let cut = 0;
      for (const connection of this.#connections) {
        cut += connection.cutServedBy(edition, error);
      }
      this.#requestsCut += cut;
      if (cut > 0) this.#options.observer.editionCut(edition.number, cut, most);
    }
  }

  /** The files of a listener's certificates hold something else now. */
  replaceCredentials(listener: string, credentials: ListenerCredentials): void {
    if (!this.#options.tls.replace(listener, credentials)) return;
    this.#recall(this.#doors.get(listener));
  }

  /** Makes the chains of all routes anew: a plugin was replaced by one with other hooks. */
  replan(): void {
    for (const edition of this.#editions) edition.replan();
  }

  /** Tells the plugins that the traffic of this worker has made a member usable or unusable. */
  tellHealth(event: HealthEvent): void {
    this.#edition?.tellHealth(event);
  }

  /**
   * Binds the listeners of the edition that are not bound yet, and closes those that it does not have any more; their
   * connections finish what they do.
   *
   * @throws {Error} If one cannot be bound.
   */
  async listen(): Promise<void> {
    const { config, service } = this.#edition!;
    const wanted = config.listeners.filter(({ name, address }) =>
      // A unix socket has one owner: nothing like a shared accept queue exists for it.
      service.listeners.includes(name) && (address.kind !== "unix" || this.#options.index === 0)
    );
    const left = new Map(this.#doors);
    for (const listener of wanted) {
      const door = this.#doors.get(listener.name);
      left.delete(listener.name);
      if (door !== undefined && this.#fits(door, listener)) continue;
      const recalls = door !== undefined && !same(askedBy(door.config), askedBy(listener));
      const recalled = recalls ? door.connections.all : [];
      // Its connections stay: they belong to the listener, not to the socket that it had.
      await this.#openDoor(listener, door?.connections ?? new Roster());
      if (door === undefined) continue;
      door.outdated = recalls;
      for (const { connection } of recalled) connection.drain();
      await this.#closeDoor(door);
    }
    for (const [name, door] of left) {
      this.#doors.delete(name);
      await this.#closeDoor(door);
      this.#recall(door);
    }
    const kept = new Set([...this.#doors.values()].map(({ connections }) => connections));
    for (const roster of this.#rosters) {
      if (roster.size === 0 && !kept.has(roster)) this.#rosters.delete(roster);
    }
  }

  /**
   * Stops accepting and lets what runs finish.
   *
   * @param grace Milliseconds; what is not over by then is cut.
   * @param gentle Milliseconds for which connections that are idle, or being set up, may bring one more request. `0`:
   * they are closed.
   * @returns How many connections were cut.
   */
  async drain(grace: number, gentle: number): Promise<number> {
    const end = performance.now() + grace;
    const listeners = [...this.#doors.values()].map(({ listener }) => listener);
    // What waits where nobody else accepts is taken in first.
    await Promise.all(listeners.map((listener) => listener.retire?.()));
    const gently = gentle > 0 && !this.#isCut;
    this.#draining = gently ? "gently" : "firmly";
    for (const listener of listeners) listener.close();
    for (const connection of this.#connections) connection.drain(gently);
    this.#connector.drain();
    if (gently) await this.#overGently(Math.min(gentle, grace), listeners);
    if (!this.#isCut) await this.#over(Math.max(0, end - performance.now()));
    const cut = this.#openCount;
    for (const connection of this.#connections) connection.destroy();
    this.#connector.close();
    // What was cut is still to be logged.
    await this.#over(CUT_TIME);
    return cut;
  }

  /** Closes the connections of a gentle drain that are idle: what runs is all that it waits for from now on. */
  hurry(): void {
    if (this.#draining !== "gently") return;
    this.#draining = "firmly";
    for (const connection of this.#connections) connection.drain();
  }

  /** Accepts no more: what comes is left to others. */
  refuse(): void {
    for (const { listener } of this.#doors.values()) listener.close();
  }

  /** Does not wait any longer for what a drain waits for. */
  cut(): void {
    this.#isCut = true;
    this.#draining = "firmly";
    for (const connection of this.#connections) connection.destroy();
    this.#whenOver?.();
  }

  /** The first part of a drain, in which idle connections may bring one more request. */
  async #overGently(ms: number, listeners: readonly Listener[]): Promise<void> {
    const end = performance.now() + ms;
    // Nobody tells when a connection that is being set up fails.
    const settingUp = () => listeners.some(({ connectionCount }) => connectionCount > 0);
    const gently = () => this.#draining === "gently" && performance.now() < end;
    while (gently() && (!this.#isOver || settingUp())) {
      await this.#over(Math.min(GENTLE_LOOK, end - performance.now()));
      if (this.#isOver) await new Promise((resolve) => setTimeout(resolve, SETUP_LOOK));
    }
    this.hurry();
  }

  /** Waits until no connection is open and no request is left, but no longer than `ms` milliseconds. */
  async #over(ms: number): Promise<void> {
    if (this.#isOver) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#whenOver = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#edition?.whenOver(() => this.#checkOver());
    });
  }

  get #isOver(): boolean {
    if (this.#openCount > 0) return false;
    for (const edition of this.#editions) if (edition.serving > 0) return false;
    return true;
  }

  #checkOver(): void {
    if (this.#isOver) this.#whenOver?.();
  }

  async #closeDoor({ config, listener }: Door): Promise<void> {
    await listener.retire?.();
    listener.close();
    this.#counts.of(config.name).closed(listener.accepted, listener.rejected);
  }

  #tellLoop(): void {
    const loop = this.#loopTold ? null : epollLoop();
    if (loop === null) return;
    this.#loopTold = true;
    this.#options.onLoop(loop.place);
  }

  async #openDoor(config: ListenerConfig, connections: Door["connections"]): Promise<void> {
    const { observer, tls } = this.#options;
    const { name } = config;
    const edition = this.#edition!;
    const secure = tls.add(config, this.#finderOf(config));
    const door: Mutable<Door> = {
      config,
      tls: secure,
      exchange: exchangeOptions(config, secure?.server ?? null, this.#counts.of(name)),
      codec: undefined!,
      connections,
      outdated: false,
      listener: undefined!,
    };
    door.codec = this.#codecOptions(door);
    const address = edition.binds[name] ?? config.address;
    const borrows = address.kind === "tcp" &&
      (config.engine === "handle" || config.engine === "epoll" && epollAvailable());
    if (config.engine === "epoll") this.#tellLoop();
    door.listener = await listen({
      name,
      address,
      engine: config.engine,
      loan: borrows ? await this.#options.borrow(address) : null,
      backlog: config.backlog,
      unixMode: config.unixMode,
      unixOwner: config.unixOwner,
      // Whether it may be bound, the main thread has found out.
      takeOver: true,
      maxConnections: config.maxConnections,
      proxyHeader: proxyHeaderPolicy(config),
      admission: this.#admissionOf(name),
      tls: secure,
      surgeon: tls.surgeon,
      onSocket: (socket) => this.#open(socket, door),
      onError: (error) => observer.listenerFailed(name, error),
      onRefused: (error) => {
        this.#counts.of(name).refuse(error.type);
        observer.connectionRefused(name, error);
      },
    });
    this.#rosters.add(connections);
    this.#doors.set(name, door);
  }

  /** Whether a listener can go on as it is, but for what is asked when a connection has been accepted. */
  #fits(door: Door, config: ListenerConfig): boolean {
    return same(socketPart(door.config), socketPart(config)) &&
      (door.tls?.engine ?? null) === this.#options.tls.engineOf(config.name);
  }

  #refit(door: Door, config: ListenerConfig): void {
    door.config = config;
    door.exchange = exchangeOptions(config, door.tls?.server ?? null, this.#counts.of(config.name));
    door.codec = this.#codecOptions(door);
    if (door.tls !== null && this.#options.tls.refresh(config.name)) {
      this.#recall(door);
    }
  }

  /** Clients are asked for something else: connections finish what they do, and their clients are asked again. */
  #recall(door: Door | undefined): void {
    for (const { connection } of door?.connections.all ?? []) connection.drain();
  }

  #codecOptions(door: Door): CodecOptions {
    const { observer, wheel } = this.#options;
    const { name, protocols, limits, http2, allowConnect, abortOnClose } = door.config;
    return {
      listener: name,
      protocols,
      limits,
      http2,
      chunkLimits: CHUNK_LIMITS,
      wheel,
      allowConnect,
      abortOnClose,
      serve: (session: DownstreamSession) => this.#edition!.serve(session, door.exchange),
      refuse: (error, facts) => {
        const requestId = crypto.randomUUID();
        const answer = errorResponse(error, { request: null, requestId });
        observer.refused(name, facts, error, answer.head.status, requestId);
        return answer;
      },
      onFault: (error, facts) => observer.connectionFailed(name, facts, error),
    };
  }

  /** Asks plugins for certificates. Which those are may change. */
  #finderOf({ name, tls }: ListenerConfig): CertificateFinder | null {
    if (tls === null) return null;
    const links = () => this.#edition!.certificates;
    const lookup = new CertificateLookup({
      listener: name,
      settings: tls.certificateHook,
      needed: () => links().length > 0,
      ask: (request) => this.#engine.certificate(links(), request),
      onError: (error) => this.#options.observer.certificateFailed(name, error),
    });
    return (host, client) => lookup.find(host, client);
  }

  /** Asks the plugins that decide about connections. Which those are may change. */
  #admissionOf(listener: string): Admission {
    // Read on each connection: another edition may have other plugins.
    const links = () => this.#edition!.admission;
    return {
      get needed() {
        return links().length > 0;
      },
      ask: (remote) =>
        this.#engine.admit(links(), {
          address: remote.kind === "tcp" ? remote.host : "",
          port: remote.kind === "tcp" ? remote.port : 0,
          listener,
        }),
    };
  }

  #open(socket: Socket, door: Door): void {
    if (this.#draining === "firmly") {
      socket.destroy();
      return;
    }
    const { remote } = socket;
    const facts: ConnectionFacts = {
      id: ++lastConnection,
      remote: unmapped(remote),
      relay: socket.relay,
      local: socket.local,
      tls: socket.tls,
      since: performance.now(),
    };
    const open = new OpenConnection(
      door.connections,
      this.#counts.of(door.config.name),
      this.#onGone,
    );
    const connection = chooseCodec(socket, facts, door.codec, open);
    open.connection = connection;
    door.connections.add(open);
    connection.start();
    if (door.outdated) connection.drain();
    else if (this.#draining !== "no") connection.drain(true);
  }
}

/** An address as it is told to everybody; a PROXY header may spell it otherwise. */
function unmapped(address: Address): Address {
  if (address.kind !== "tcp") return address;
  const host = unmapIpv4(address.host);
  return host === address.host ? address : { ...address, host };
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
