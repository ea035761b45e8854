/**
 * The upstream groups of the config at work in this service worker: chosen from, counted, watched, changed.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { same } from "../base/same.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { Endpoint } from "../balancer/backend.ts";
import { type GroupEvent, UpstreamGroup } from "../balancer/group.ts";
import type { HealthEvent, HealthFlip } from "../balancer/health/messages.ts";
import { GroupHealth } from "../balancer/health/view.ts";
import type { LoadBook } from "../balancer/load_book.ts";
import type { StickyOptions } from "../balancer/sticky.ts";
import { endpointPeer } from "../config/endpoint_peer.ts";
import type { Config } from "../config/types.ts";
import type { StickyConfig, UpstreamConfig } from "../config/types_upstreams.ts";
import { Breaker, type BreakerState } from "../connector/breaker.ts";
import type { Connector } from "../connector/connector.ts";
import { type Peer, PEER_OPTIONS } from "../connector/peer.ts";
import type { NameTable } from "../transport/resolver.ts";
import { type AttemptListener, type Upstream, Upstreams } from "../proxy/upstreams.ts";
import {
  groupMark,
  type GroupTrafficHealth,
  MOST_EJECTIONS,
  type TrafficHealth,
} from "./traffic_health.ts";

/** What an operator has set for a member of a group, whether or not it is one now. Plain data. */
export interface MemberSetting {
  readonly kind: "member_setting";
  /** Name of the upstream group. */
  readonly group: string;
  /** Id of the member. */
  readonly id: string;
  /** `false`: it finishes what it has and gets nothing new. */
  readonly enabled: boolean;
  /** `null`: the weight that config or discovery say. */
  readonly weight: number | null;
}

/** What is known of the groups when a worker begins. Plain data. */
export interface UpstreamState {
  /** Endpoints that were discovered, by group. */
  readonly endpoints: Readonly<Record<string, readonly Endpoint[]>>;
  /** Members that are not as they begin. */
  readonly flips: readonly HealthFlip[];
  /** Where names of upstreams lead. */
  readonly names: NameTable;
  /** What operators have set. */
  readonly settings: readonly MemberSetting[];
  /** Key of the sticky cookies that have none of their own. */
  readonly stickySecret: string;
}

/** Takes note of what happens to groups. */
export interface UpstreamListener {
  groupChanged(group: string, event: GroupEvent): void;
  healthChanged(event: HealthEvent): void;
  breakerChanged(group: string, state: BreakerState): void;
}

interface Entry extends Upstream {
  readonly health: GroupHealth;
  /** What operators have set, by id; for members that come back, too. */
  readonly settings: Map<string, MemberSetting>;
  /** What it was made from; its endpoints are those that were written last. */
  config: UpstreamConfig;
  /** What ends the warming of a peer. */
  warmed: Map<Peer, () => void>;
  /** How many editions of the config have it. */
  holders: number;
}

/** What an {@linkcode UpstreamRuntime} is made from. */
export interface UpstreamRuntimeOptions {
  readonly config: Config;
  readonly state: UpstreamState;
  readonly wheel: TimerWheel;
  readonly listener: UpstreamListener;
  /** The groups of the edition before: those that are to be what they were are taken over with all they know. */
  readonly before: UpstreamRuntime | null;
  /** Told once for each attempt; `null`: nobody is. */
  readonly onAttempt: AttemptListener | null;
}

/** All groups of one edition of the config in a service worker. */
export class UpstreamRuntime {
  readonly upstreams: Upstreams;
  readonly #config: Config;
  readonly #entries = new Map<string, Entry>();
  #connector: Pick<Connector, "keepWarm"> | null = null;
  #released = false;

  constructor(options: UpstreamRuntimeOptions) {
    const { config, state, wheel, listener, before, onAttempt } = options;
    this.#config = config;
    for (const upstream of config.upstreams) {
      const known = before === null ? undefined : before.#entries.get(upstream.name);
      const entry = known !== undefined && sameGroup(known.config, upstream)
        ? known
        : makeEntry(upstream, state, wheel, listener, known?.group.book);
      entry.holders++;
      this.#entries.set(upstream.name, entry);
    }
    this.upstreams = new Upstreams(this.#entries, PEER_OPTIONS, onAttempt);
    for (const flip of state.flips) {
      // Groups that were taken over know it already.
      if (this.#entries.get(flip.group)?.holders === 1) this.applyFlip(flip);
    }
  }

  /** Whether a group is the very same in another edition. */
  shares(group: string, other: UpstreamRuntime): boolean {
    return this.#entries.get(group) === other.#entries.get(group);
  }

  /** This edition begins to serve: groups that were taken over get the endpoints that it names. */
  begin(state: UpstreamState, connector: Pick<Connector, "keepWarm">): void {
    this.#connector = connector;
    for (const upstream of this.#config.upstreams) {
      const entry = this.#entries.get(upstream.name)!;
      const endpoints = state.endpoints[upstream.name] ??
        (same(entry.config.endpoints, upstream.endpoints) ? null : upstream.endpoints);
      entry.config = upstream;
      if (endpoints !== null) this.setEndpoints(upstream.name, endpoints);
      else this.#warm(entry);
    }
    for (const flip of state.flips) this.applyFlip(flip);
    for (const setting of state.settings) this.applySetting(setting);
  }

  /** The members of a group are others now. */
  setEndpoints(group: string, endpoints: readonly Endpoint[]): void {
    const entry = this.#entries.get(group);
    if (entry === undefined) return;
    entry.group.update(endpoints);
    entry.health.update(entry.group.backends);
    for (const setting of entry.settings.values()) apply(entry, setting);
    this.#warm(entry);
  }

  /** An operator has set something for a member; it holds until it is set anew. */
  applySetting(setting: MemberSetting): void {
    const entry = this.#entries.get(setting.group);
    if (entry === undefined) return;
    const { enabled, weight, id } = setting;
    if (enabled && weight === null) entry.settings.delete(id);
    else entry.settings.set(id, setting);
    apply(entry, setting);
  }

  /** Keeps connections ready for the members of a group that ask for it. */
  #warm(entry: Entry): void {
    const { group, warmed: before } = entry;
    const connector = this.#connector;
    if (connector === null) return;
    const now = new Map<Peer, () => void>();
    for (const { peer, endpoint } of group.backends) {
      if (peer.options.prewarm === 0 || endpoint.weight === 0) continue;
      now.set(peer, before.get(peer) ?? connector.keepWarm(peer));
      before.delete(peer);
    }
    for (const end of before.values()) end();
    entry.warmed = now;
  }

  /** An active check has found a member to work, or not to. */
  applyFlip(flip: HealthFlip): void {
    this.#entries.get(flip.group)?.health.applyFlip(flip);
  }

  /** What traffic has shown of the groups; those that it has shown nothing of are left out. */
  get trafficHealth(): GroupTrafficHealth[] {
    const groups: GroupTrafficHealth[] = [];
    for (const [group, { health, breaker, config }] of this.#entries) {
      const hold = breaker === null ? null : breaker.hold;
      if (hold === null && health.ejected === 0) continue;
      const ejections = health.ejections;
      if (ejections.length > MOST_EJECTIONS) {
        ejections.sort((a, b) => b.left - a.left).length = MOST_EJECTIONS;
      }
      groups.push({ group, mark: groupMark(config), ejections, breaker: hold });
    }
    return groups;
  }

  /**
   * Goes on with what the traffic of another worker has shown, where a group is made from the same.
   *
   * @returns How many members are ejected by it, and how many breakers open.
   */
  inherit({ groups, age }: TrafficHealth): { readonly ejected: number; readonly breakers: number } {
    let [ejected, breakers] = [0, 0];
    for (const { group, mark, ejections, breaker } of groups) {
      const entry = this.#entries.get(group);
      if (entry === undefined || groupMark(entry.config) !== mark) continue;
      ejected += entry.health.resumeEjections(
        ejections.map((one) => ({ ...one, left: one.left - age })),
      );
      if (breaker === null || entry.breaker === null) continue;
      entry.breaker.resume({ ...breaker, left: breaker.left - age });
      breakers++;
    }
    return { ejected, breakers };
  }

  /** No request uses this edition any more. Groups that no other has let go of the wheel. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    for (const entry of this.#entries.values()) {
      if (--entry.holders > 0) continue;
      for (const end of entry.warmed.values()) end();
      entry.group.close();
      entry.health.stop();
    }
  }
}

/** Whether a group can go on as it is, its endpoints aside: those may change at any time. */
function sameGroup(a: UpstreamConfig, b: UpstreamConfig): boolean {
  return same({ ...a, endpoints: [] }, { ...b, endpoints: [] });
}

function makeEntry(
  upstream: UpstreamConfig,
  state: UpstreamState,
  wheel: TimerWheel,
  listener: UpstreamListener,
  book: LoadBook | undefined,
): Entry {
  const { name, balancing, health: watched } = upstream;
  const health = new GroupHealth({
    group: name,
    wheel,
    clock: systemClock,
    initial: watched.active?.settings.initial ?? "healthy",
    passive: watched.passive,
    slowStart: balancing.slowStart,
    onEvent: (event) => listener.healthChanged(event),
  });
  const group = new UpstreamGroup({
    name,
    policy: balancing.policy,
    hashKey: balancing.hashKey,
    endpoints: state.endpoints[name] ?? upstream.endpoints,
    makePeer: (endpoint) => endpointPeer(upstream, endpoint),
    health,
    clock: systemClock,
    panicThreshold: balancing.panicThreshold,
    subset: balancing.subset,
    sticky: balancing.sticky && stickyOptions(balancing.sticky, state.stickySecret),
    onEvent: (event) => listener.groupChanged(name, event),
    // What it knows of the load of its members, a group leaves to the one in its place.
    ...(book === undefined ? {} : { book }),
  });
  health.update(group.backends);
  const breaker = upstream.breaker === null ? null : new Breaker(upstream.breaker);
  if (breaker !== null) {
    breaker.onChange = (to) => listener.breakerChanged(name, to);
  }
  return {
    group,
    breaker,
    health,
    settings: new Map(),
    config: upstream,
    warmed: new Map(),
    holders: 0,
  };
}

function apply({ group, health }: Entry, { id, enabled, weight }: MemberSetting): void {
  group.setWeight(id, weight);
  group.setEnabled(id, enabled);
  health.setAdmin(id, enabled ? "enabled" : "drained");
}

function stickyOptions({ secret, ...rest }: StickyConfig, drawn: string): StickyOptions {
  return { ...rest, secret: secret ?? drawn };
}
