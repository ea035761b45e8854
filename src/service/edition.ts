/**
 * One edition of the config at work in a service worker: its groups, its routes and the proxy over them.
 *
 * A reload makes another edition beside the one that serves. New requests go to the new one; those that run keep
 * theirs, with its routes, groups and plugins, until they are over.
 *
 * @module
 */
import { same } from "../base/same.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { HealthEvent } from "../balancer/health/messages.ts";
import type { Config, RouteConfig, ServiceConfig } from "../config/types.ts";
import type { Connector } from "../connector/connector.ts";
import type { DownstreamSession } from "../http/session.ts";
import type { PhaseHandler } from "../plugin/handler.ts";
import type { HealthChange } from "../plugin/upstream.ts";
import type { PhaseEngine } from "../proxy/engine.ts";
import type { ExchangeOptions } from "../proxy/exchange.ts";
import { HttpProxy, type KeptContexts } from "../proxy/http_proxy.ts";
import { compilePlan, type Link } from "../proxy/plan.ts";
import { compileRoutes } from "../proxy/router.ts";
import type { Route } from "../proxy/route.ts";
import { makeRoute } from "./make_route.ts";
import type { TcpAddress } from "../transport/address.ts";
import { epollAvailable } from "../transport/epoll/system_calls.ts";
import type { SocketEngine } from "../transport/socket.ts";
import { handleEngineAvailable } from "../transport/native_handle.ts";
import type { ServiceObserver } from "./service_observer.ts";
import type { UpstreamRuntime } from "./upstream_runtime.ts";

/** What all editions of a worker share. */
export interface EditionTools {
  readonly wheel: TimerWheel;
  readonly connector: Connector;
  readonly engine: PhaseEngine;
  readonly observer: ServiceObserver;
  /** What plugins keep for the next request of a connection, which may belong to another edition. */
  readonly kept: KeptContexts;
  /** Name of this worker, for plugins. */
  readonly worker: string;
}

/** What an {@linkcode Edition} is made from. */
export interface EditionOptions {
  /** Counts up from 1. */
  readonly number: number;
  readonly config: Config;
  readonly service: ServiceConfig;
  readonly upstreams: UpstreamRuntime;
  /** Addresses by which listeners are listened on in this process, where those are not their own. */
  readonly binds: Readonly<Record<string, TcpAddress>>;
  /** The plugins, by position in the config and use. */
  readonly handler: (plugin: number, use: number) => PhaseHandler;
  /** The edition that it is to follow. */
  readonly before: Edition | null;
}

interface Base {
  readonly config: RouteConfig;
  /** The route without its chains: budgets and mirrors outlive the replacement of a plugin. */
  readonly route: Omit<Route, "plan">;
}

/** Routes, groups and plugins of one edition. */
export class Edition {
  readonly number: number;
  readonly config: Config;
  readonly service: ServiceConfig;
  readonly upstreams: UpstreamRuntime;
  readonly binds: Readonly<Record<string, TcpAddress>>;
  readonly #options: Omit<EditionOptions, "before">;
  readonly #tools: EditionTools;
  readonly #bases: readonly Base[];
  readonly #proxy: HttpProxy;
  #routes: readonly Route[] = [];
  #admission: readonly Link[] = [];
  #certificates: readonly Link[] = [];
  /** Who wants to know of members that become usable or unusable: each use of each plugin, on a route or not. */
  #healthHooks: readonly PhaseHandler[] = [];
  /** Requests that something is still done for. */
  #serving = 0;
  #onOver: (() => void) | null = null;

  constructor(options: EditionOptions, tools: EditionTools) {
    // Kept, the edition before would keep the one before it, and so on to the first; and what one closure of a function
    // uses, all that are made in it keep.
    const { before, ...own } = options;
    this.#options = own;
    this.#tools = tools;
    this.number = options.number;
    this.config = options.config;
    this.service = options.service;
    this.upstreams = options.upstreams;
    this.binds = options.binds;
    this.#bases = this.#basesAfter(before);
    this.replan();
    const find = compileRoutes(this.service.routes);
    this.#proxy = new HttpProxy({
      engine: tools.engine,
      connector: tools.connector,
      upstreams: this.upstreams.upstreams,
      wheel: tools.wheel,
      kept: tools.kept,
      route: (head) => this.#routes[find(head)] ?? null,
      maxRetries: this.config.server.maxRetries,
      onTunnel: () => tools.observer.tunnelOpened(),
      onFinished: (exchange) => tools.observer.finished(exchange),
      onReleased: () => {
        this.#serving--;
        if (this.#serving === 0) this.#onOver?.();
      },
      onError: (exchange, error, summary, final) =>
        tools.observer.failed(exchange, error, summary, final),
    });
  }

  /**
   * What carries clear text to upstreams: what carries it to clients, for two ways to wait for bytes are dearer than
   * one. Behind TLS the runtime is busy with its own connections, and handles are cheaper than more of these.
   */
  get clearTextEngine(): SocketEngine {
    const own = this.config.listeners.filter(({ name }) => this.service.listeners.includes(name));
    if (own.some(({ engine }) => engine === "epoll") && epollAvailable()) return "epoll";
    return own.some(({ engine, tls }) => engine === "handle" || tls !== null) &&
        handleEngineAvailable()
      ? "handle"
      : "deno";
  }

  /** Requests that something is still done for. */
  get serving(): number {
    return this.#serving;
  }

  /** Who decides about new connections: the hooks of all routes, each plugin once. */
  get admission(): readonly Link[] {
    return this.#admission;
  }

  /** Who is asked for certificates: the hooks of all routes, each plugin once. */
  get certificates(): readonly Link[] {
    return this.#certificates;
  }

  /** The routes without what plugins do on them. */
  get routes(): readonly Omit<Route, "plan">[] {
    return this.#routes;
  }

  /** Runs a request through the phases. */
  serve(session: DownstreamSession, options: ExchangeOptions): void | Promise<void> {
    this.#serving++;
    session.servedBy = this;
    return this.#proxy.serve(session, options);
  }

  /** Calls `onOver` as soon as no request is left, and each time again; at once if none is. */
  whenOver(onOver: () => void): void {
    this.#onOver = onOver;
    if (this.#serving === 0) onOver();
  }

  /** Makes the chains of all routes anew: a plugin was replaced by one with other hooks. */
  replan(): void {
    const { config, handler } = this.#options;
    this.#routes = this.#bases.map(({ config: route, route: base }) => ({
      ...base,
      plan: compilePlan(
        route.plugins.map(({ plugin, use, when }) => ({ handler: handler(plugin, use), when })),
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
    const { engine, worker } = this.#tools;
    const change: HealthChange = { upstream: group, endpoint: id, kind, reason, at, worker };
    for (const hook of this.#healthHooks) {
      // Each gets its own, which it may keep and change.
      void engine.notify(hook, "upstreamHealth", { ...change });
    }
  }

  #basesAfter(before: Edition | null): Base[] {
    return this.service.routes.map((route) => this.#base(route, before));
  }

  /** A route as it was, if nothing of it has changed: its budget and its running mirrors go on. */
  #base(config: RouteConfig, before: Edition | null): Base {
    const known = before === null
      ? undefined
      : before.#bases.find((one) => one.config.id === config.id);
    if (
      before !== null && known !== undefined && sameRoute(known.config, config) &&
      config.mirrors.every(({ upstream }) => this.upstreams.shares(upstream, before.upstreams))
    ) return { config, route: known.route };
    const { connector, wheel } = this.#tools;
    const route = makeRoute(config, { connector, wheel, upstreams: this.upstreams.upstreams });
    return { config, route };
  }
}

/** Whether two routes are made from the same, their plugins aside. */
function sameRoute(a: RouteConfig, b: RouteConfig): boolean {
  return same({ ...a, plugins: [] }, { ...b, plugins: [] });
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
