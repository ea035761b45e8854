/**
 * The composition root of a service worker: makes the objects that a config asks for and wires them.
 *
 * @module
 */
import type { Endpoint } from "../balancer/backend.ts";
import type { HealthFlip } from "../balancer/health/messages.ts";
import { same } from "../base/same.ts";
import { Deadline, TimerWheel } from "../base/timer_wheel.ts";
import type { ListenerCredentials } from "../config/credentials.ts";
import type { Config } from "../config/types.ts";
import { type AccessLog, openAccessLog } from "../observe/access_log.ts";
import { type Logger, logger } from "../observe/log.ts";
import { MetricBook, type MetricReport, type SampleSink } from "../observe/metrics/book.ts";
import { connectPlugins, type PluginConnections } from "../sandbox/connect.ts";
import type { TcpAddress } from "../transport/address.ts";
import type { ConnectionEnds } from "../transport/kernel_sockets.ts";
import type { LoopOfThread } from "../transport/epoll/left_behind.ts";
import type { Loan } from "../transport/loan.ts";
import { learnNames } from "../transport/resolve.ts";
import type { WorkerEdition, WorkerLoad, WorkerSetup } from "./control.ts";
import type { Edition } from "./edition.ts";
import { HttpService } from "./http_service.ts";
import { HookMeter } from "./hook_meter.ts";
import { RequestMetrics } from "./request_metrics.ts";
import { ServiceObserver } from "./service_observer.ts";
import { strayErrors } from "./stray_errors.ts";
import { TlsListeners, type TlsState } from "./tls_listeners.ts";
import type { GroupTrafficHealth, TrafficHealth } from "./traffic_health.ts";
import { reportUpstreams, type UpstreamReport } from "./upstream_report.ts";
import {
  type MemberSetting,
  type UpstreamListener,
  UpstreamRuntime,
  type UpstreamState,
} from "./upstream_runtime.ts";

/** What a service in this worker tells. */
export interface ServiceEvents {
  /** No request uses an edition any more that another has followed. */
  readonly onReleased: (number: number) => void;
  /** The edition that serves from now on has other settings for the operational log. */
  readonly onLog: (settings: Config["log"]) => void;
  /** Lines of the operational log that were dropped. */
  readonly linesDropped: () => number;
  /** Asks the server to cut connections that were closed and are still there. */
  readonly onCut: (connections: readonly ConnectionEnds[]) => void;
  /** Asks the server for a descriptor of a socket that it holds; `null`: a socket of our own is to be bound. */
  readonly borrow: (bound: TcpAddress) => Promise<Loan | null>;
  /** Tells the server by what sockets are watched that this thread would leave open. */
  readonly onLoop: (loop: LoopOfThread) => void;
  /** What traffic shows of the upstreams has changed. */
  readonly onTrafficHealth: (groups: readonly GroupTrafficHealth[]) => void;
}

/** Changes of what traffic shows are told together, so many milliseconds after the first. */
const TRAFFIC_HEALTH_DELAY = 100;

/**
 * Makes a service ready, without listening yet.
 *
 * @throws {Error} If a log cannot be opened, or an inline plugin cannot be loaded.
 */
export async function startService(
  setup: WorkerSetup,
  events: ServiceEvents,
): Promise<RunningService> {
  const log = logger("service", setup.service);
  const wheel = new TimerWheel();
  const plugins = await connectPlugins(setup.plugins, {
    timers: wheel,
    onChange: () => service.replan(),
  });
  const service = new RunningService({ setup, events, log, wheel, plugins });
  await service.prepare(setup.edition);
  await service.commit(setup.edition.number, setup.edition.upstreams, false);
  return service;
}

interface Parts {
  readonly setup: WorkerSetup;
  readonly events: ServiceEvents;
  readonly log: Logger;
  readonly wheel: TimerWheel;
  readonly plugins: PluginConnections;
}

/** A service that runs in this worker. */
export class RunningService {
  readonly #parts: Parts;
  readonly #observer: ServiceObserver;
  readonly #http: HttpService;
  readonly #book: MetricBook | null;
  readonly #requests: RequestMetrics | null;
  #accessLog: AccessLog | null = null;
  /** Lines of access logs that were closed since. */
  #droppedBefore = 0;
  readonly #tls: TlsListeners;
  #prepared: { readonly edition: Edition; readonly tls: TlsState } | null = null;
  /** Number of the edition that was asked for last and not called off. */
  #preparing = 0;
  readonly #healthDue: Deadline = new Deadline(() => this.#tellTrafficHealth());
  /** Whether nothing was to be told of traffic the last time. */
  #healthy = true;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { setup, wheel, log, events } = parts;
    // Whether anything is counted is settled when a worker begins.
    this.#book = setup.edition.config.metrics === null ? null : new MetricBook();
    this.#requests = this.#book && new RequestMetrics(this.#book, setup.service);
    this.#observer = new ServiceObserver(setup.service, log, this.#requests);
    this.#tls = new TlsListeners(setup.edition.tls, events.onCut);
    this.#http = new HttpService({
      service: setup.service,
      index: setup.index,
      wheel,
      poolSize: setup.edition.config.server.upstreamKeepalivePoolSize,
      observer: this.#observer,
      tls: this.#tls,
      borrow: events.borrow,
      onLoop: events.onLoop,
      onReleased: (edition) => {
        edition.upstreams.release();
        events.onReleased(edition.number);
      },
    });
    this.#book?.collect((sink) => this.#collect(sink));
  }

  /** Plugins have other hooks now. */
  replan(): void {
    this.#http.replan();
    this.#prepared?.edition.replan();
  }

  /**
   * Makes another edition ready beside the one that serves.
   *
   * @throws {Error} If it cannot be: nothing has changed then.
   */
  async prepare(wanted: WorkerEdition): Promise<void> {
    const { number, config, upstreams: state, slots, tls, binds } = wanted;
    const { setup, wheel, plugins } = this.#parts;
    const service = config.services.find(({ name }) => name === setup.service);
    if (service === undefined) throw new Error(`there is no service ${setup.service}`);
    this.#preparing = number;
    await plugins.attached(slots);
    if (this.#preparing !== number) throw new Error(`edition ${number} is not wanted any more`);
    const before = this.#http.edition;
    const book = this.#book;
    const requests = this.#requests;
    const upstreams = new UpstreamRuntime({
      config,
      state,
      wheel,
      listener: this.#listener(),
      before: before?.upstreams ?? null,
      onAttempt: requests && ((group, outcome) => requests.attempted(group, outcome)),
    });
    try {
      const edition = this.#http.make({
        number,
        config,
        service,
        upstreams,
        binds,
        handler(plugin, use) {
          return plugins.handler(slots[plugin]!, use, book && new HookMeter(book));
        },
      });
      this.#prepared = { edition, tls };
    } catch (error) {
      upstreams.release();
      throw error;
    }
  }

  /**
   * Serves by the edition that was prepared.
   *
   * @param listening Whether its listeners are to be bound, and others closed.
   * @throws {Error} If one cannot be bound, or the access log cannot be opened.
   */
  async commit(number: number, state: UpstreamState, listening: boolean): Promise<void> {
    const prepared = this.#prepared;
    if (prepared?.edition.number !== number) throw new Error(`edition ${number} was not prepared`);
    const { edition, tls } = prepared;
    this.#prepared = null;
    this.#tls.state = tls;
    const before = this.#http.edition;
    this.#openLog(edition.config, before?.config ?? null);
    learnNames(state.names, true);
    edition.upstreams.begin(state, this.#http.connector);
    this.#http.use(edition);
    this.#trafficHealthChanged();
    if (listening) await this.#http.listen();
  }

  /** Forgets the edition that was prepared. */
  abort(number: number): void {
    if (this.#preparing === number) this.#preparing = 0;
    const prepared = this.#prepared;
    if (prepared?.edition.number !== number) return;
    this.#prepared = null;
    prepared.edition.upstreams.release();
  }

  /**
   * Binds all listeners.
   *
   * @throws {Error} If one cannot be bound.
   */
  listen(): Promise<void> {
    return this.#http.listen();
  }

  /**
   * Finishes what runs, writes what is left to write, and stops.
   *
   * @param grace Milliseconds that requests may still take.
   * @param gentle Milliseconds for which connections that are idle may bring one more request.
   * @returns How many connections were cut.
   */
  async drain(grace: number, gentle: number): Promise<number> {
    const { plugins, wheel } = this.#parts;
    const cut = await this.#http.drain(grace, gentle);
    this.#http.edition?.upstreams.release();
    await plugins.close();
    wheel.close();
    await this.#accessLog?.close();
    return cut;
  }

  /** Closes what a gentle drain would let bring one more request. */
  hurry(): void {
    this.#http.hurry();
  }

  /** Accepts no more. */
  refuse(): void {
    this.#http.refuse();
  }

  /** Cuts what a drain still waits for. */
  cut(): void {
    this.#http.cut();
  }

  /** What has been found out about the upstreams since the start. */
  refresh(state: UpstreamState): void {
    learnNames(state.names, true);
    this.#http.edition?.upstreams.begin(state, this.#http.connector);
  }

  /** The members of an upstream group are others now. */
  setEndpoints(group: string, endpoints: readonly Endpoint[]): void {
    this.#http.edition?.upstreams.setEndpoints(group, endpoints);
    this.#trafficHealthChanged();
  }

  /** A member of a group has begun or ceased to work. */
  applyFlip(flip: HealthFlip): void {
    this.#http.edition?.upstreams.applyFlip(flip);
  }

  /** An operator has set something for a member of a group. */
  applySetting(setting: MemberSetting): void {
    this.#http.edition?.upstreams.applySetting(setting);
  }

  /** Goes on with what the traffic of the worker before this one has shown. */
  inherit(health: TrafficHealth): void {
    const { upstreams } = this.#http.edition!;
    const { ejected, breakers } = upstreams.inherit(health);
    if (ejected + breakers > 0) {
      this.#parts.log.info("Goes on with what the worker before has found out", {
        ejected,
        open_breakers: breakers,
      });
    }
    this.#trafficHealthChanged();
  }

  /** What it has to do now. */
  get load(): WorkerLoad {
    return this.#http.load;
  }

  /** The upstream groups as this worker sees them. */
  reportUpstreams(): UpstreamReport[] {
    const edition = this.#http.edition;
    if (edition === null) return [];
    return reportUpstreams(edition.upstreams.upstreams.all, this.#http.connector);
  }

  /** What is counted, as it stands; `null` without metrics. */
  metrics(): MetricReport | null {
    return this.#book && this.#book.report();
  }

  /** The files of a listener's certificates hold something else now. */
  replaceCredentials(listener: string, credentials: ListenerCredentials): void {
    this.#http.replaceCredentials(listener, credentials);
  }

  /** Opens log files anew, after they were moved away. */
  async reopenLogs(): Promise<void> {
    await this.#accessLog?.reopen();
  }

  #trafficHealthChanged(): void {
    if (!this.#healthDue.armed) this.#parts.wheel.arm(this.#healthDue, TRAFFIC_HEALTH_DELAY);
  }

  #tellTrafficHealth(): void {
    const groups = this.#http.edition?.upstreams.trafficHealth ?? [];
    if (groups.length === 0 && this.#healthy) return;
    this.#healthy = groups.length === 0;
    this.#parts.events.onTrafficHealth(groups);
  }

  #openLog(config: Config, before: Config | null): void {
    if (before !== null && !same(before.log, config.log)) this.#parts.events.onLog(config.log);
    if (before !== null && same(before.accessLog, config.accessLog)) return;
    const old = this.#accessLog;
    this.#accessLog = openAccessLog(
      config.accessLog,
      (error) => this.#parts.log.error("The access log cannot be written", { error }),
    );
    this.#observer.accessLog = this.#accessLog;
    // What it still has to write is written; nobody waits for a disk that stalls.
    void old?.close();
    this.#droppedBefore += old?.dropped ?? 0;
  }

  #collect(sink: SampleSink): void {
    this.#http.collect(sink);
    const dropped = this.#droppedBefore + (this.#accessLog?.dropped ?? 0);
    sink.add("sluice_log_lines_dropped_total", ["access"], dropped);
    for (const [plugin, times] of this.#parts.plugins.full) {
      sink.add("sluice_plugin_channel_full_total", [plugin], times);
    }
    sink.add("sluice_log_lines_dropped_total", ["operational"], this.#parts.events.linesDropped());
    sink.add("sluice_unhandled_errors_total", ["service"], strayErrors());
  }

  #listener(): UpstreamListener {
    const observer = this.#observer;
    const book = this.#book;
    return {
      groupChanged: (group, event) => observer.groupChanged(group, event),
      healthChanged: (event) => {
        observer.healthChanged(event);
        if (event.kind === "ejected" || event.kind === "returned") {
          const labels = [event.group, event.kind] as const;
          book?.add(book.place("sluice_upstream_health_flips_total", labels), 1);
          this.#trafficHealthChanged();
          // What active checks find, the server tells plugins itself: once, and not once per worker.
          this.#http.tellHealth(event);
        }
      },
      breakerChanged: (group, state) => {
        observer.breakerChanged(group, state);
        this.#trafficHealthChanged();
      },
    };
  }
}
