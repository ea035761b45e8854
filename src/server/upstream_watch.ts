/**
 * What the program finds out about upstreams while it runs: who their members are, and which of them work. Once for
 * all service workers, on the thread that carries no traffic.
 *
 * @module
 */
import { same } from "../base/same.ts";
import { systemClock } from "../base/clock.ts";
import { TimerWheel } from "../base/timer_wheel.ts";
import type { Endpoint } from "../balancer/backend.ts";
import type { Discovery } from "../balancer/discovery/discovery.ts";
import { createDiscovery } from "../balancer/discovery/table.ts";
import { ActiveHealth } from "../balancer/health/active.ts";
import { CheckSlots } from "../balancer/health/check_slots.ts";
import type { HealthFlip } from "../balancer/health/messages.ts";
import type { ExchangeTools } from "../balancer/health/http_exchange.ts";
import { UPSTREAM_LIMITS } from "../http/limits.ts";
import { CHUNK_LIMITS } from "../http1/limits.ts";
import { createCheck } from "../balancer/health/table.ts";
import { endpointPeer } from "../config/endpoint_peer.ts";
import type { Config } from "../config/types.ts";
import type { UpstreamConfig } from "../config/types_upstreams.ts";
import { literal, type Logger } from "../observe/log.ts";
import type { LabelValues } from "../observe/metrics/families.ts";
import type { HealthChange } from "../plugin/upstream.ts";
import type { ServerMessage } from "../service/control.ts";
import type { MemberSetting, UpstreamState } from "../service/upstream_runtime.ts";
import { formatAddress } from "../transport/address.ts";
import type { NameSource } from "../transport/resolver.ts";
import { hostSource, useNameServers } from "../transport/resolve.ts";
import { type NameReach, NameWatch } from "./name_watch.ts";
import { MemberSettings } from "./operations/member_settings.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";
import type { PluginEndpoints } from "./plugin_endpoints.ts";
import type { Service } from "./service_graph.ts";
import { lookupRights, reachableAnyway, unite, wantedNames } from "./upstream_names.ts";

/** What an {@linkcode UpstreamWatch} is made from. */
export interface UpstreamWatchOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Endpoints that plugins name. */
  readonly plugins: PluginEndpoints;
  readonly metrics: ProgramMetrics;
  /** Tells all service workers. */
  readonly broadcast: (message: ServerMessage) => void;
  /** Key of the sticky cookies that have none of their own. Default: drawn. */
  readonly stickySecret?: string | undefined;
  /** What operators have set before. Default: nothing. */
  readonly settings?: readonly MemberSetting[] | undefined;
  /** Called when active checks have found a member to work, or not to. */
  readonly onHealth: (change: HealthChange) => void;
  /** Puts workers with the rights of {@linkcode UpstreamWatch.reach} in the place of those that serve. */
  readonly replaceWorkers: () => Promise<void>;
}

/** What a service worker needs to look the names of its upstreams up, and to connect to what it finds. */
export interface UpstreamReach {
  readonly net: readonly string[];
  readonly read: readonly string[];
}

/** How long the first answer of a discovery is waited for before the workers start without it. */
const FIRST_ANSWER = 5_000;

/** An upstream as the main thread knows it. */
export interface WatchedUpstream {
  readonly upstream: UpstreamConfig;
  /** Whether the last answer of the discovery was good; `true` without one. */
  readonly works: boolean;
  readonly endpoints: readonly Endpoint[];
}

interface Watched extends WatchedUpstream {
  upstream: UpstreamConfig;
  readonly active: ActiveHealth | null;
  readonly discovery: Discovery | null;
  /** Whether the last answer of the discovery was good. */
  works: boolean;
  endpoints: readonly Endpoint[];
  /** Resolves when the discovery has told something, good or bad. */
  readonly heard: Promise<void>;
  /** Whether the service workers are to hear of it. */
  live: boolean;
}

/** Upstreams of another edition of the config that are watched already. Exactly one of the two must follow. */
export interface WatchChange {
  /** What is known of them now. */
  state(): UpstreamState;
  /** Rights for what their names lead to. */
  readonly reach: UpstreamReach;
  /** They are the upstreams from now on. */
  commit(): void;
  /** Lets go of those that are not watched by the edition before. */
  abort(): void;
}

/** Discovery and active health checks of all upstreams. */
export class UpstreamWatch implements Service {
  readonly name = "upstreams";
  readonly dependsOn: readonly string[] = ["plugins"];
  readonly #options: UpstreamWatchOptions;
  readonly #wheel = new TimerWheel();
  #watched: readonly Watched[] = [];
  /** Drawn once, so that all workers understand each other's cookies. */
  readonly #stickySecret: string;
  readonly #settings = new MemberSettings();
  readonly #names: NameWatch;
  /** Names and rights of the edition that serves. */
  #wanted: NameReach = { wanted: new Map(), anyway: () => false };
  #reach: UpstreamReach = { net: [], read: [] };
  #config: Config;
  #source: NameSource;

  constructor(options: UpstreamWatchOptions) {
    this.#options = options;
    this.#stickySecret = options.stickySecret ?? crypto.randomUUID() + crypto.randomUUID();
    this.#config = options.config;
    this.#source = hostSource(options.config.server.nameServers);
    this.#names = new NameWatch({
      source: (host) => this.#source(host),
      wheel: this.#wheel,
      log: options.log,
      tell: (names) => options.broadcast({ kind: "names", names }),
      replace: options.replaceWorkers,
    });
    for (const setting of options.settings ?? []) this.#settings.set(setting);
    options.metrics.book.collect((sink) => {
      for (const { upstream, endpoints, discovery, works } of this.#watched) {
        sink.add("sluice_upstream_endpoints", [upstream.name], endpoints.length);
        if (discovery !== null) {
          sink.add("sluice_discovery_working", [upstream.name], works ? 1 : 0);
        }
      }
    });
  }

  /** Key of the sticky cookies that have none of their own. */
  get stickySecret(): string {
    return this.#stickySecret;
  }

  /** What is known of each upstream here. */
  get upstreams(): readonly WatchedUpstream[] {
    return this.#watched;
  }

  /** Rights for what the names of upstreams lead to. */
  get reach(): UpstreamReach {
    return this.#reach;
  }

  /** What operators have set. */
  get settings(): MemberSettings {
    return this.#settings;
  }

  /** An operator sets something for a member: all workers are told, those that begin later, too. */
  set(setting: MemberSetting): void {
    this.#settings.set(setting);
    this.#options.broadcast(setting);
  }

  async start(): Promise<void> {
    useNameServers(this.#config.server.nameServers);
    const change = await this.prepare(this.#options.config);
    change.commit();
  }

  /** Follows names no longer: the workers end, and none shall take their place. */
  settle(): void {
    this.#names.stop();
  }

  stop(): Promise<void> {
    for (const watched of this.#watched) endWatch(watched);
    this.#names.stop();
    this.#wheel.close();
    return Promise.resolve();
  }

  /** What a worker that begins now has to know. */
  state(): UpstreamState {
    return this.#stateOf(this.#watched);
  }

  /**
   * Watches the upstreams of another edition. Those that are to be what they are go on being watched.
   *
   * @param silent Plugins that will name endpoints only when they serve.
   */
  async prepare(config: Config, silent: readonly string[] = []): Promise<WatchChange> {
    this.#options.plugins.add(config.upstreams);
    const fresh: Watched[] = [];
    const next = config.upstreams.map((upstream) => {
      const known = this.#watched.find((one) => sameWatch(one.upstream, upstream));
      if (known !== undefined) return known;
      const watched = this.#watch(upstream, isSilent(upstream, config, silent));
      fresh.push(watched);
      watched.active?.update(targets(upstream, watched.endpoints));
      return watched;
    });
    const first = Promise.all(fresh.map(({ heard }) => heard));
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      first,
      new Promise((resolve) => timer = setTimeout(resolve, FIRST_ANSWER)),
    ]);
    clearTimeout(timer);
    const wanted: NameReach = {
      wanted: wantedNames(config, foundIn(next)),
      anyway: reachableAnyway(config),
    };
    await this.#names.update(unite(this.#wanted.wanted, wanted.wanted), false);
    const rights = this.#names.rights(wanted);
    const lookup = lookupRights(config);
    const reach = { net: [...rights, ...lookup.net], read: lookup.read };
    return {
      state: () => this.#stateOf(next),
      reach,
      commit: () => {
        const { nameServers } = config.server;
        if (!same(nameServers, this.#config.server.nameServers)) this.#useNameServers(nameServers);
        this.#config = config;
        this.#wanted = wanted;
        this.#reach = reach;
        void this.#names.update(wanted.wanted, false);
        this.#names.granted(rights, wanted);
        for (const watched of this.#watched) if (!next.includes(watched)) endWatch(watched);
        this.#watched = next;
        next.forEach((watched, i) => this.#adopt(watched, config.upstreams[i]!));
        this.#options.plugins.keep(config.upstreams);
      },
      abort: () => {
        for (const watched of fresh) endWatch(watched);
        void this.#names.update(this.#wanted.wanted, true);
        this.#options.plugins.keep(this.#watched.map(({ upstream }) => upstream));
      },
    };
  }

  #useNameServers(servers: readonly string[]): void {
    useNameServers(servers);
    this.#source = hostSource(servers);
  }

  #adopt(watched: Watched, upstream: UpstreamConfig): void {
    watched.live = true;
    watched.upstream = upstream;
    if (watched.discovery !== null || same(watched.endpoints, upstream.endpoints)) return;
    watched.endpoints = upstream.endpoints;
    watched.active?.update(targets(upstream, upstream.endpoints));
  }

  #stateOf(all: readonly Watched[]): UpstreamState {
    const discovered = all.filter(({ discovery }) => discovery !== null);
    return {
      endpoints: Object.fromEntries(
        discovered.map(({ upstream, endpoints }) => [upstream.name, endpoints]),
      ),
      flips: all.flatMap(({ active }) => active?.flips() ?? []),
      names: this.#names.table,
      settings: this.#settings.all,
      stickySecret: this.#stickySecret,
    };
  }

  /** @param silent Whether nothing can be heard of its discovery before it serves. */
  #watch(upstream: UpstreamConfig, silent: boolean): Watched {
    const { active: settings } = upstream.health;
    const active = settings === null ? null : new ActiveHealth({
      group: upstream.name,
      settings: settings.settings,
      check: createCheck(settings.check, this.#tools()),
      wheel: this.#wheel,
      clock: systemClock,
      slots: new CheckSlots(settings.concurrency),
      onFlip: (flip) => {
        if (watched.live) this.#flipped(flip);
      },
    });
    const watched: Mutable<Watched> = {
      upstream,
      active,
      discovery: null,
      works: true,
      endpoints: upstream.endpoints,
      heard: Promise.resolve(),
      live: false,
    };
    if (upstream.discovery === null) return watched;
    const discovery = createDiscovery(upstream.discovery.source, {
      ...this.#tools(),
      pluginSource: (plugin) => this.#options.plugins.source(plugin),
    });
    const heard = Promise.withResolvers<void>();
    if (silent) heard.resolve();
    Object.assign(watched, { discovery, works: false, endpoints: [], heard: heard.promise });
    discovery.start({
      onUpdate: (endpoints) => {
        this.#found(watched, endpoints);
        heard.resolve();
      },
      onError: (error) => {
        watched.works = false;
        this.#count("sluice_discovery_failures_total", [upstream.name]);
        this.#options.log.warn(
          `Discovery of upstream ${upstream.name} fails: ${
            literal(error.explain())
          }; its ${watched.endpoints.length} endpoints stay`,
          { upstream: upstream.name },
        );
        heard.resolve();
      },
      onRecovered: () => {
        watched.works = true;
        this.#options.log.info(`Discovery of upstream ${upstream.name} works again`, {
          upstream: upstream.name,
        });
      },
    });
    return watched;
  }

  #count<
    Name extends
      | "sluice_discovery_failures_total"
      | "sluice_discovery_updates_total"
      | "sluice_upstream_health_flips_total",
  >(
    name: Name,
    labels: LabelValues<Name>,
  ): void {
    const { book } = this.#options.metrics;
    book.add(book.place(name, labels), 1);
  }

  #flipped(flip: HealthFlip): void {
    const kind = flip.healthy ? "healthy" : "unhealthy";
    this.#count("sluice_upstream_health_flips_total", [flip.group, kind]);
    this.#options.broadcast(flip);
    this.#options.onHealth({
      upstream: flip.group,
      endpoint: flip.id,
      kind,
      reason: flip.reason,
      at: flip.at,
      worker: null,
    });
  }

  #tools(): ExchangeTools {
    return {
      wheel: this.#wheel,
      limits: UPSTREAM_LIMITS,
      chunkLimits: CHUNK_LIMITS,
      clearTextEngine: "deno",
    };
  }

  #found(watched: Watched, endpoints: readonly Endpoint[]): void {
    const { upstream, active } = watched;
    watched.endpoints = endpoints;
    watched.works = true;
    this.#count("sluice_discovery_updates_total", [upstream.name]);
    this.#options.log.info(
      `Discovery of upstream ${upstream.name} found ${endpoints.length} endpoints`,
      { upstream: upstream.name },
    );
    active?.update(targets(upstream, endpoints));
    if (!watched.live) return;
    const wanted = wantedNames(this.#config, foundIn(this.#watched));
    const isNew = [...wanted.keys()].some((host) => !this.#names.has(host));
    this.#wanted = { ...this.#wanted, wanted };
    const known = this.#names.update(wanted, true);
    if (isNew) void this.#announceLater(watched, endpoints, known);
    else this.#announce(upstream.name, endpoints);
  }

  /** Tells of endpoints when the workers may reach the names among them, unless there are others by then. */
  async #announceLater(
    watched: Watched,
    endpoints: readonly Endpoint[],
    known: Promise<void>,
  ): Promise<void> {
    await known;
    await this.#names.reachable();
    if (watched.live && watched.endpoints === endpoints) {
      this.#announce(watched.upstream.name, endpoints);
    }
  }

  #announce(group: string, endpoints: readonly Endpoint[]): void {
    this.#options.broadcast({ kind: "endpoint_set", group, endpoints, at: Date.now() });
  }
}

function foundIn(all: readonly Watched[]): ReadonlyMap<string, readonly Endpoint[]> {
  return new Map(
    all.filter(({ discovery }) => discovery !== null)
      .map(({ upstream, endpoints }) => [upstream.name, endpoints]),
  );
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

function endWatch({ active, discovery }: Watched): void {
  active?.stop();
  discovery?.stop();
}

/** Whether an upstream is watched by the same; the endpoints that are written down may be others. */
function sameWatch(a: UpstreamConfig, b: UpstreamConfig): boolean {
  const plain = ({ name, discovery, health, tls, options }: UpstreamConfig) => ({
    name,
    discovery,
    active: health.active,
    tls,
    options,
  });
  return same(plain(a), plain(b));
}

function isSilent(
  { discovery }: UpstreamConfig,
  { plugins }: Config,
  silent: readonly string[],
): boolean {
  if (discovery?.source.type !== "plugin") return false;
  const { plugin } = discovery.source;
  // Inline plugins are set up in the service workers, which begin after this.
  return silent.includes(plugin) ||
    plugins.some(({ name, isolation }) => name === plugin && isolation === "inline");
}

function targets(upstream: UpstreamConfig, endpoints: readonly Endpoint[]) {
  return endpoints.map((endpoint) => ({
    id: formatAddress(endpoint.address),
    peer: endpointPeer(upstream, endpoint),
  }));
}
