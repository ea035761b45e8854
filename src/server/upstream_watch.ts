/**
 * What the program finds out about upstreams while it runs: who their members are, and which of them work. Once for
 * all service workers, on the thread that carries no traffic.
 *
 * @module
 */
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
import { MemberSettings } from "./operations/member_settings.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";
import type { PluginEndpoints } from "./plugin_endpoints.ts";
import type { Service } from "./service_graph.ts";

/** What an {@linkcode UpstreamWatch} is made from. */
export interface UpstreamWatchOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Endpoints that plugins name. */
  readonly plugins: PluginEndpoints;
  readonly metrics: ProgramMetrics;
  /** Tells all service workers. */
  readonly broadcast: (message: ServerMessage) => void;
  /** Called when active checks have found a member to work, or not to. */
  readonly onHealth: (change: HealthChange) => void;
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
  readonly upstream: UpstreamConfig;
  readonly active: ActiveHealth | null;
  readonly discovery: Discovery | null;
  /** Whether the last answer of the discovery was good. */
  works: boolean;
  endpoints: readonly Endpoint[];
  /** Resolves when the discovery has told something, good or bad. */
  readonly heard: Promise<void>;
}

/** Discovery and active health checks of all upstreams. */
export class UpstreamWatch implements Service {
  readonly name = "upstreams";
  readonly dependsOn: readonly string[] = ["plugins"];
  readonly #options: UpstreamWatchOptions;
  readonly #wheel = new TimerWheel();
  readonly #watched: Watched[] = [];
  /** Drawn once, so that all workers understand each other's cookies. */
  readonly #stickySecret = crypto.randomUUID() + crypto.randomUUID();
  readonly #settings = new MemberSettings();

  constructor(options: UpstreamWatchOptions) {
    this.#options = options;
    options.metrics.book.collect((sink) => {
      for (const { upstream, endpoints, discovery, works } of this.#watched) {
        sink.add("sluice_upstream_endpoints", [upstream.name], endpoints.length);
        if (discovery !== null) {
          sink.add("sluice_discovery_working", [upstream.name], works ? 1 : 0);
        }
      }
    });
  }

  /** What is known of each upstream here. */
  get upstreams(): readonly WatchedUpstream[] {
    return this.#watched;
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
    for (const upstream of this.#options.config.upstreams) {
      const watched = this.#watch(upstream);
      this.#watched.push(watched);
      watched.active?.update(targets(upstream, watched.endpoints));
    }
    const first = Promise.all(this.#watched.map(({ heard }) => heard));
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      first,
      new Promise((resolve) => timer = setTimeout(resolve, FIRST_ANSWER)),
    ]);
    clearTimeout(timer);
  }

  stop(): Promise<void> {
    for (const { active, discovery } of this.#watched) {
      active?.stop();
      discovery?.stop();
    }
    this.#wheel.close();
    return Promise.resolve();
  }

  /** What a worker that begins now has to know. */
  state(): UpstreamState {
    const discovered = this.#watched.filter(({ discovery }) => discovery !== null);
    return {
      endpoints: Object.fromEntries(
        discovered.map(({ upstream, endpoints }) => [upstream.name, endpoints]),
      ),
      flips: this.#watched.flatMap(({ active }) => active?.flips() ?? []),
      settings: this.#settings.all,
      stickySecret: this.#stickySecret,
    };
  }

  #watch(upstream: UpstreamConfig): Watched {
    const { active: settings } = upstream.health;
    const active = settings === null ? null : new ActiveHealth({
      group: upstream.name,
      settings: settings.settings,
      check: createCheck(settings.check, this.#tools()),
      wheel: this.#wheel,
      clock: systemClock,
      slots: new CheckSlots(settings.concurrency),
      onFlip: (flip) => this.#flipped(flip),
    });
    if (upstream.discovery === null) {
      return {
        upstream,
        active,
        discovery: null,
        works: true,
        endpoints: upstream.endpoints,
        heard: Promise.resolve(),
      };
    }
    const discovery = createDiscovery(upstream.discovery.source, {
      ...this.#tools(),
      pluginSource: (plugin) => this.#options.plugins.source(plugin),
    });
    const heard = Promise.withResolvers<void>();
    // Inline plugins are set up in the service workers, which begin after this.
    if (this.#foundInline(upstream)) heard.resolve();
    const watched: Watched = {
      upstream,
      active,
      discovery,
      works: false,
      endpoints: [],
      heard: heard.promise,
    };
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

  #foundInline({ discovery }: UpstreamConfig): boolean {
    if (discovery?.source.type !== "plugin") return false;
    const { plugin } = discovery.source;
    const { plugins } = this.#options.config;
    return plugins.some(({ name, isolation }) => name === plugin && isolation === "inline");
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
    this.#options.broadcast({
      kind: "endpoint_set",
      group: upstream.name,
      endpoints,
      at: Date.now(),
    });
  }
}

function targets(upstream: UpstreamConfig, endpoints: readonly Endpoint[]) {
  return endpoints.map((endpoint) => ({
    id: formatAddress(endpoint.address),
    peer: endpointPeer(upstream, endpoint),
  }));
}
