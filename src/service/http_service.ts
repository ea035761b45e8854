/**
 * One service in one service worker: from accepted connection to the phases, and the drain of it all.
 *
 * @module
 */
import type { HealthEvent } from "../balancer/health/messages.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { Config, ListenerConfig, ServiceConfig } from "../config/types.ts";
import { Connector } from "../connector/connector.ts";
import type { DownstreamConnection } from "../http/downstream.ts";
import type { ConnectionFacts, DownstreamSession } from "../http/session.ts";
import { TrustedNetworks } from "../http/trusted_networks.ts";
import { UPSTREAM_LIMITS } from "../http/limits.ts";
import { CHUNK_LIMITS } from "../http1/limits.ts";
import type { SampleSink } from "../observe/metrics/book.ts";
import type { PhaseHandler } from "../plugin/handler.ts";
import type { HealthChange } from "../plugin/upstream.ts";
import { PhaseEngine } from "../proxy/engine.ts";
import { errorResponse } from "../proxy/error_response.ts";
import type { ExchangeOptions } from "../proxy/exchange.ts";
import type { HostPolicy } from "../proxy/host_check.ts";
import { HttpProxy } from "../proxy/http_proxy.ts";
import { compilePlan, type Link } from "../proxy/plan.ts";
import { compileRoutes } from "../proxy/router.ts";
import type { Route } from "../proxy/route.ts";
import type { Upstreams } from "../proxy/upstreams.ts";
import { listen } from "../transport/listen.ts";
import type { Listener } from "../transport/listener.ts";
import { unmapIpv4 } from "../transport/address.ts";
import type { Admission } from "../transport/connection_setup.ts";
import type { ProxyHeaderPolicy } from "../transport/proxy_accept.ts";
import type { Socket } from "../transport/socket.ts";
import { chooseCodec, type CodecOptions } from "./choose_codec.ts";
import { ConnectionCounts, type ProtocolCounts } from "./connection_counts.ts";
import type { CertificateFinder, TlsServer } from "../transport/tls_server.ts";
import { CertificateLookup } from "./certificate_lookup.ts";
import { makeRoute } from "./make_route.ts";
import type { ServiceObserver } from "./service_observer.ts";
import type { TlsListeners } from "./tls_listeners.ts";
import { tellConnections, tellRoutes, tellUpstreams } from "./upstream_metrics.ts";

/** What is left of the drain for requests that were cut, in milliseconds. */
const CUT_TIME = 500;

/** What a {@linkcode HttpService} is made from. */
export interface HttpServiceOptions {
  readonly config: Config;
  readonly service: ServiceConfig;
  /** Position among the workers of the service. */
  readonly index: number;
  /** Where all deadlines wait. */
  readonly wheel: TimerWheel;
  /** The groups of the config. */
  readonly upstreams: Upstreams;
  /** The plugins of the config, by plugin and use. */
  readonly handler: (plugin: number, use: number) => PhaseHandler;
  readonly observer: ServiceObserver;
  /** TLS of the listeners. */
  readonly tls: TlsListeners;
}

let lastConnection = 0;

/** Listeners, connections and proxy of one service in this worker. */
export class HttpService {
  readonly #options: HttpServiceOptions;
  readonly #connector: Connector;
  readonly #engine: PhaseEngine;
  readonly #proxy: HttpProxy;
  /** Routes without their chains: budgets and mirrors outlive the replacement of a plugin. */
  readonly #bases: readonly Omit<Route, "plan">[];
  #routes: readonly Route[] = [];
  #admission: readonly Link[] = [];
  #certificates: readonly Link[] = [];
  /** Who wants to know of members that become usable or unusable: each use of each plugin, on a route or not. */
  #healthHooks: readonly PhaseHandler[] = [];
  readonly #connections = new Set<DownstreamConnection>();
  readonly #counts = new ConnectionCounts();
  readonly #listeners: Listener[] = [];
  #draining = false;
  #whenOver: (() => void) | null = null;
  /** Requests that something is still done for. */
  #serving = 0;

  constructor(options: HttpServiceOptions) {
    const { config, service, observer } = options;
    this.#options = options;
    this.#engine = new PhaseEngine((handler, phase, error) =>
      observer.hookFailed(handler.name, phase, error)
    );
    this.#connector = new Connector({
      wheel: options.wheel,
      poolSize: config.server.upstreamKeepalivePoolSize,
      limits: UPSTREAM_LIMITS,
      chunkLimits: CHUNK_LIMITS,
      clearTextEngine: "deno",
    });
    this.#bases = service.routes.map((route) =>
      makeRoute(route, {
        connector: this.#connector,
        upstreams: options.upstreams,
        wheel: options.wheel,
      })
    );
    const find = compileRoutes(service.routes);
    this.replan();
    this.#proxy = new HttpProxy({
      engine: this.#engine,
      connector: this.#connector,
      upstreams: options.upstreams,
      wheel: options.wheel,
      route: (head) => this.#routes[find(head)] ?? null,
      maxRetries: config.server.maxRetries,
      onFinished: (exchange) => observer.finished(exchange),
      onReleased: () => {
        this.#serving--;
        this.#checkOver();
      },
      onError: (exchange, error, summary, final) =>
        observer.failed(exchange, error, summary, final),
    });
  }

  /** What makes connections to upstreams. */
  get connector(): Connector {
    return this.#connector;
  }

  /** Tells what is there now, and what is counted anyway. */
  collect(sink: SampleSink): void {
    const { service, upstreams } = this.#options;
    sink.add("http_server_active_requests", [service.name], this.#serving);
    for (const { name, accepted, rejected } of this.#listeners) {
      sink.add("sluice_connections_accepted_total", [name], accepted);
      sink.add("sluice_connections_rejected_total", [name, "max_connections"], rejected);
    }
    this.#counts.collect(sink);
    tellRoutes(sink, this.#bases);
    tellUpstreams(sink, upstreams.all);
    tellConnections(sink, this.#connector, upstreams.all);
  }

  /** Makes the chains of all routes anew: a plugin was replaced by one with other hooks. */
  replan(): void {
    const { config, service, handler } = this.#options;
    this.#routes = this.#bases.map((base, i) => ({
      ...base,
      plan: compilePlan(
        service.routes[i]!.plugins.map(({ plugin, use, when }) => ({
          handler: handler(plugin, use),
          when,
        })),
      ),
    }));
    this.#admission = connectionLinks(this.#routes, "connectionFilter");
    this.#certificates = connectionLinks(this.#routes, "certificate");
    this.#healthHooks = config.plugins
      .flatMap(({ uses }, plugin) => uses.map((_, use) => handler(plugin, use)))
      .filter(({ phases }) => phases.has("upstreamHealth"));
  }

  /** Tells the plugins that the traffic of this worker has made a member usable or unusable. Nobody waits for them. */
  tellHealth({ kind, group, id, reason, at }: HealthEvent): void {
    if (this.#healthHooks.length === 0) return;
    const { service, index } = this.#options;
    const worker = `${service.name}-${index}`;
    const change: HealthChange = { upstream: group, endpoint: id, kind, reason, at, worker };
    for (const hook of this.#healthHooks) {
      // Each gets its own, which it may keep and change.
      void this.#engine.notify(hook, "upstreamHealth", { ...change });
    }
  }

  /**
   * Binds all listeners.
   *
   * @throws {Error} If one cannot be bound.
   */
  async listen(): Promise<void> {
    for (const name of this.#options.service.listeners) {
      const listener = this.#options.config.listeners.find((one) => one.name === name)!;
      // A unix socket has one owner: nothing like a shared accept queue exists for it.
      if (listener.address.kind === "unix" && this.#options.index > 0) continue;
      const { observer, tls } = this.#options;
      const secure = tls.add(listener, this.#finderOf(listener));
      this.#listeners.push(
        await listen({
          name,
          address: listener.address,
          engine: "deno",
          backlog: listener.backlog,
          unixMode: listener.unixMode,
          unixOwner: listener.unixOwner,
          maxConnections: listener.maxConnections,
          proxyHeader: proxyHeaderPolicy(listener),
          admission: this.#admissionOf(name),
          tls: secure,
          surgeon: tls.surgeon,
          onSocket: this.#acceptor(listener, secure?.server ?? null),
          onError: (error) => observer.listenerFailed(name, error),
          onRefused: (error) => {
            this.#counts.of(name).refuse(error.type);
            observer.connectionRefused(name, error);
          },
        }),
      );
    }
  }

  /**
   * Stops accepting and lets what runs finish.
   *
   * @param grace Milliseconds; what is not over by then is cut.
   * @returns How many connections were cut.
   */
  async drain(grace: number): Promise<number> {
    this.#draining = true;
    for (const listener of this.#listeners) listener.close();
    for (const connection of [...this.#connections]) connection.drain();
    this.#connector.drain();
    await this.#over(grace);
    const cut = this.#connections.size;
    for (const connection of [...this.#connections]) connection.destroy();
    this.#connector.close();
    // What was cut is still to be logged.
    await this.#over(CUT_TIME);
    return cut;
  }

  /** Waits until no connection is open and no request is left, but no longer than `ms` milliseconds. */
  async #over(ms: number): Promise<void> {
    if (this.#connections.size === 0 && this.#serving === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#whenOver = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #checkOver(): void {
    if (this.#connections.size === 0 && this.#serving === 0) this.#whenOver?.();
  }

  #acceptor(listener: ListenerConfig, tls: TlsServer | null): (socket: Socket) => void {
    const { observer } = this.#options;
    const exchangeOptions: ExchangeOptions = {
      forward: {
        trusted: new TrustedNetworks(listener.trustedProxies),
        fields: listener.forwarded,
        clientCert: listener.tls?.forwardClientCert ?? "off",
      },
      bodyBuffer: listener.pluginBodyBuffer,
      hosts: tls && hostPolicy(listener, tls),
    };
    const serverOptions: CodecOptions = {
      listener: listener.name,
      protocols: listener.protocols,
      limits: listener.limits,
      http2: listener.http2,
      chunkLimits: CHUNK_LIMITS,
      wheel: this.#options.wheel,
      allowConnect: listener.allowConnect,
      abortOnClose: listener.abortOnClose,
      serve: (session: DownstreamSession) => {
        this.#serving++;
        return this.#proxy.serve(session, exchangeOptions);
      },
      refuse: (error, facts) => {
        const requestId = crypto.randomUUID();
        const answer = errorResponse(error, { request: null, requestId });
        observer.refused(listener.name, facts, error, answer.head.status, requestId);
        return answer;
      },
      onFault: (error, facts) => observer.connectionFailed(listener.name, facts, error),
    };
    return (socket) => this.#open(socket, serverOptions);
  }

  /** Asks plugins for certificates. Which those are may change. */
  #finderOf({ name, tls }: ListenerConfig): CertificateFinder | null {
    if (tls === null) return null;
    const lookup = new CertificateLookup({
      listener: name,
      settings: tls.certificateHook,
      needed: () => this.#certificates.length > 0,
      ask: (request) => this.#engine.certificate(this.#certificates, request),
      onError: (error) => this.#options.observer.certificateFailed(name, error),
    });
    return (host) => lookup.find(host);
  }

  /** Asks the plugins that decide about connections. Which those are may change. */
  #admissionOf(listener: string): Admission {
    // Read on each connection: a plugin may be replaced by one that has the hook, or has it no more.
    const links = () => this.#admission;
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

  #open(socket: Socket, options: CodecOptions): void {
    if (this.#draining) {
      socket.destroy();
      return;
    }
    const { remote } = socket;
    const facts: ConnectionFacts = {
      id: ++lastConnection,
      remote: remote.kind === "tcp" ? { ...remote, host: unmapIpv4(remote.host) } : remote,
      relay: socket.relay,
      local: socket.local,
      tls: socket.tls,
      since: performance.now(),
    };
    let counts: ProtocolCounts | null = null;
    const connection = chooseCodec(socket, facts, options, {
      onProtocol: (protocol) => {
        counts = this.#counts.of(options.listener).protocol(protocol);
        counts.opened++;
        counts.open++;
      },
      onClosed: () => {
        if (counts !== null) counts.open--;
        this.#connections.delete(connection);
        this.#checkOver();
      },
    });
    this.#connections.add(connection);
    connection.start();
  }
}

function proxyHeaderPolicy({ proxyProtocol }: ListenerConfig): ProxyHeaderPolicy | null {
  if (proxyProtocol === null) return null;
  const { trusted, required, timeout } = proxyProtocol;
  const networks = new TrustedNetworks(trusted);
  return { trusts: (host) => networks.includes(host), required, timeout };
}

function hostPolicy({ tls }: ListenerConfig, server: TlsServer): HostPolicy {
  const { strictHost, hostAuth } = tls!;
  return {
    strict: strictHost,
    demand: hostAuth.length === 0 ? null : (host) => server.demandFor(host),
  };
}

/** The hooks that are called for connections: those of all routes, each plugin once. */
function connectionLinks(
  routes: readonly Route[],
  phase: "connectionFilter" | "certificate",
): readonly Link[] {
  const links = new Map<PhaseHandler, Link>();
  for (const { plan } of routes) {
    for (const link of plan[phase] ?? []) links.set(link.handler, link);
  }
  return [...links.values()];
}
