/**
 * The upstream groups of the config at work in this service worker: chosen from, counted, watched, changed.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { Endpoint } from "../balancer/backend.ts";
import { type GroupEvent, UpstreamGroup } from "../balancer/group.ts";
import type { HealthEvent, HealthFlip } from "../balancer/health/messages.ts";
import { GroupHealth } from "../balancer/health/view.ts";
import type { StickyOptions } from "../balancer/sticky.ts";
import { endpointPeer } from "../config/endpoint_peer.ts";
import type { Config } from "../config/types.ts";
import type { StickyConfig, UpstreamConfig } from "../config/types_upstreams.ts";
import { Breaker, type BreakerState } from "../connector/breaker.ts";
import type { Connector } from "../connector/connector.ts";
import { type Peer, PEER_OPTIONS } from "../connector/peer.ts";
import { type AttemptListener, type Upstream, Upstreams } from "../proxy/upstreams.ts";

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
}

/** All groups of a service worker. */
export class UpstreamRuntime {
  readonly upstreams: Upstreams;
  readonly #entries = new Map<string, Entry>();
  /** What ends the warming of a peer, by group. */
  readonly #warmed = new Map<string, Map<Peer, () => void>>();
  #connector: Pick<Connector, "keepWarm"> | null = null;

  /** @param onAttempt Told once for each attempt; `null`: nobody is. */
  constructor(
    config: Config,
    state: UpstreamState,
    wheel: TimerWheel,
    listener: UpstreamListener,
    onAttempt: AttemptListener | null,
  ) {
    for (const upstream of config.upstreams) {
      this.#entries.set(upstream.name, makeEntry(upstream, state, wheel, listener));
    }
    this.upstreams = new Upstreams(this.#entries, PEER_OPTIONS, onAttempt);
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

  /** Keeps connections ready for the members of all groups that ask for it, now and when the members change. */
  keepWarm(connector: Pick<Connector, "keepWarm">): void {
    this.#connector = connector;
    for (const entry of this.#entries.values()) this.#warm(entry);
  }

  #warm({ group }: Entry): void {
    const connector = this.#connector;
    if (connector === null) return;
    const before = this.#warmed.get(group.name) ?? new Map<Peer, () => void>();
    const now = new Map<Peer, () => void>();
    for (const { peer, endpoint } of group.backends) {
      if (peer.options.prewarm === 0 || endpoint.weight === 0) continue;
      now.set(peer, before.get(peer) ?? connector.keepWarm(peer));
      before.delete(peer);
    }
    for (const end of before.values()) end();
    this.#warmed.set(group.name, now);
  }

  /** An active check has found a member to work, or not to. */
  applyFlip(flip: HealthFlip): void {
    this.#entries.get(flip.group)?.health.applyFlip(flip);
  }

  /** Lets go of the wheel. */
  stop(): void {
    for (const warmed of this.#warmed.values()) for (const end of warmed.values()) end();
    for (const { group, health } of this.#entries.values()) {
      group.close();
      health.stop();
    }
  }
}

function makeEntry(
  upstream: UpstreamConfig,
  state: UpstreamState,
  wheel: TimerWheel,
  listener: UpstreamListener,
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
  });
  health.update(group.backends);
  const breaker = upstream.breaker === null ? null : new Breaker(upstream.breaker);
  if (breaker !== null) {
    breaker.onChange = (to) => listener.breakerChanged(name, to);
  }
  return { group, breaker, health, settings: new Map() };
}

function apply({ group, health }: Entry, { id, enabled, weight }: MemberSetting): void {
  group.setWeight(id, weight);
  group.setEnabled(id, enabled);
  health.setAdmin(id, enabled ? "enabled" : "drained");
}

function stickyOptions({ secret, ...rest }: StickyConfig, drawn: string): StickyOptions {
  return { ...rest, secret: secret ?? drawn };
}
