/**
 * All that is known of the health of a group, in one thread that carries traffic: what the active checks have found,
 * what its own traffic shows, what an operator has set, and who is still starting.
 *
 * @module
 */
import type { Clock } from "../../base/clock.ts";
import type { TimerWheel } from "../../base/timer_wheel.ts";
import type { Outcome } from "../backend.ts";
import type { HealthView } from "../health_view.ts";
import type { HealthEvent, HealthEventKind, HealthFlip } from "./messages.ts";
import {
  type Ejection,
  PassiveHealth,
  type PassiveSettings,
  type PassiveState,
} from "./passive.ts";
import { SlowStart, type SlowStartSettings } from "./slow_start.ts";

/** What an operator has set for a member. */
export type AdminState = "enabled" | "drained";

/** A member as far as health is concerned. A `Backend` is one. */
export interface HealthMember {
  readonly id: string;
  readonly endpoint: { readonly weight: number };
}

/** What {@linkcode GroupHealth} takes. */
export interface GroupHealthOptions {
  /** Name of the upstream group. */
  readonly group: string;
  readonly wheel: TimerWheel;
  /** The clock of the wheel. */
  readonly clock: Clock;
  /** Milliseconds since 1970, for the time in events. Default `Date.now`. */
  readonly date?: () => number;
  /** What members count as until a flip says otherwise: `ActiveSettings.initial`. Default `healthy`. */
  readonly initial?: "healthy" | "unhealthy";
  /** Default `null`: nobody is ejected. */
  readonly passive?: PassiveSettings | null;
  /** Default `null`: members get their whole share at once. */
  readonly slowStart?: SlowStartSettings | null;
  /** For logs, metrics and plugins. */
  readonly onEvent?: (event: HealthEvent) => void;
}

/** What is known of a member. Plain data. */
export interface HealthSnapshot {
  readonly id: string;
  /** Whether it gets requests. */
  readonly usable: boolean;
  /** What the active checks say, and why. */
  readonly healthy: boolean;
  readonly reason: string;
  readonly admin: AdminState;
  /** Share of its weight that it gets. */
  readonly weightFactor: number;
  /** What traffic shows; `null` without passive health, or for a member of weight 0. */
  readonly passive: PassiveState | null;
}

/** Settings of members that are not there now are kept for when they come back, but not without end. */
const MOST_ADMIN_STATES = 1024;

/** The health of a group. */
export class GroupHealth implements HealthView {
  /** Called when a member became usable or unusable, or weights have grown. */
  onChange: (() => void) | null = null;
  readonly #options: GroupHealthOptions;
  readonly #members = new Map<string, Member>();
  readonly #passive: PassiveHealth | null;
  readonly #slowStart: SlowStart | null;
  /** Ids of drained members, the longest drained first. */
  readonly #drained = new Set<string>();
  /** Usable members with a weight. */
  #serving = 0;
  #unusable = 0;
  #begun = false;
  #quiet = 0;

  /** @throws {ProxyError} `config_error` if the settings make no sense. */
  constructor(options: GroupHealthOptions) {
    const { wheel, clock, passive = null, slowStart = null } = options;
    this.#options = options;
    this.#slowStart = slowStart === null
      ? null
      : new SlowStart(slowStart, clock, wheel, () => this.onChange?.());
    this.#passive = passive === null ? null : new PassiveHealth({
      settings: passive,
      wheel,
      clock,
      mayEject: (id) => this.#canSpare(id),
      onEject: (id, reason, duration) => this.#ejected(id, reason, duration),
      onReturn: (id, reason) => this.#returned(id, reason),
    });
  }

  /** Whether a member may get requests. One that the group does not know may. */
  usable(member: { readonly id: string }): boolean {
    return this.#unusable === 0 || this.#members.get(member.id)?.usable !== false;
  }

  /** Share of its weight that a member gets now, more than 0 and up to 1. */
  weightFactor(member: { readonly id: string }): number {
    return this.#slowStart === null ? 1 : this.#slowStart.factor(member.id);
  }

  /** Notes how an attempt at a member ended. */
  record(member: { readonly id: string }, outcome: Outcome): void {
    this.#passive?.record(member.id, outcome);
  }

  /** Sets the members. Those that stay keep what is known of them; all but the first set start slowly. */
  update(members: readonly HealthMember[]): void {
    const gone = new Set(this.#members.keys());
    const added: Member[] = [];
    for (const { id, endpoint } of members) {
      gone.delete(id);
      let member = this.#members.get(id);
      if (member === undefined) {
        member = new Member(id, this.#options.initial !== "unhealthy");
        member.drained = this.#drained.has(id);
        this.#members.set(id, member);
        added.push(member);
      }
      member.serves = endpoint.weight > 0;
    }
    for (const id of gone) {
      this.#members.delete(id);
      this.#slowStart?.end(id);
    }
    if (this.#begun) { for (const { id } of added) this.#slowStart?.begin(id); }
    this.#begun ||= added.length > 0;
    this.#change(() => {
      this.#passive?.update(
        [...this.#members.values()].filter((one) => one.serves).map((one) => one.id),
      );
      for (const member of this.#members.values()) {
        member.ejected = this.#passive?.isEjected(member.id) === true;
      }
    });
  }

  /** Takes over what the active checks have found. A member that is not in the group is passed over. */
  applyFlip(flip: Pick<HealthFlip, "id" | "healthy" | "reason">): void {
    const { id, healthy, reason } = flip;
    const member = this.#members.get(id);
    if (member === undefined) return;
    member.reason = reason;
    if (member.healthy === healthy) return;
    member.healthy = healthy;
    this.#change(() => {
      if (healthy) {
        // It has just proved that it works again.
        this.#passive?.returnNow(id, "active checks have passed");
        this.#slowStart?.begin(id);
      } else this.#slowStart?.end(id);
      this.#tell(healthy ? "healthy" : "unhealthy", id, reason);
    });
  }

  /**
   * Takes a member out of service, or puts it back. The setting stays when the member leaves the group and comes
   * back, for the last 1,024 members drained.
   *
   * @returns Whether the group has such a member.
   */
  setAdmin(id: string, state: AdminState, reason: string = "by an operator"): boolean {
    const member = this.#members.get(id);
    const drained = state === "drained";
    if (!drained) this.#drained.delete(id);
    if (member === undefined) return false;
    if (drained) this.#remember(id);
    if (member.drained === drained) return true;
    member.drained = drained;
    this.#change(() => {
      if (drained) this.#slowStart?.end(id);
      else this.#slowStart?.begin(id);
      this.#tell(drained ? "drained" : "enabled", id, reason);
    });
    return true;
  }

  /** How many members traffic has ejected. */
  get ejected(): number {
    return this.#passive === null ? 0 : this.#passive.ejected;
  }

  /** Whom traffic has ejected. */
  get ejections(): Ejection[] {
    return this.#passive?.ejections ?? [];
  }

  /**
   * Goes on with ejections that another thread has begun, as far as the members can be spared. No event tells of it.
   *
   * @returns How many it were.
   */
  resumeEjections(ejections: readonly Ejection[]): number {
    let resumed = 0;
    this.#change(() => {
      for (const ejection of ejections) {
        if (this.#passive?.resume(ejection) !== true) continue;
        const { id } = ejection;
        this.#members.get(id)!.ejected = true;
        this.#slowStart?.end(id);
        resumed++;
        // Whether the next one can be spared depends on it.
        this.#count();
      }
    });
    return resumed;
  }

  /** What is known of each member. */
  snapshot(): HealthSnapshot[] {
    return [...this.#members.values()].map((member) => ({
      id: member.id,
      usable: member.usable,
      healthy: member.healthy,
      reason: member.reason,
      admin: member.drained ? "drained" : "enabled",
      weightFactor: this.weightFactor(member),
      passive: this.#passive?.state(member.id) ?? null,
    }));
  }

  /** Lets go of the wheel. */
  stop(): void {
    this.#passive?.stop();
    this.#slowStart?.stop();
  }

  #ejected(id: string, reason: string, duration: number): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    member.ejected = true;
    this.#change(() => {
      this.#slowStart?.end(id);
      this.#tell("ejected", id, reason, duration);
    });
  }

  #returned(id: string, reason: string): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    member.ejected = false;
    this.#change(() => {
      this.#slowStart?.begin(id);
      this.#tell("returned", id, reason);
    });
  }

  /** Makes a change, which may lead to others, and announces them together. */
  #change(how: () => void): void {
    this.#quiet++;
    try {
      how();
      this.#count();
      if (this.#serving === 0) {
        const works = (id: string) => this.#members.get(id)?.works === true;
        this.#passive?.returnOne(works, "no other member is usable");
        this.#count();
      }
    } finally {
      this.#quiet--;
    }
    if (this.#quiet === 0) this.onChange?.();
  }

  #count(): void {
    this.#serving = this.#unusable = 0;
    for (const member of this.#members.values()) {
      if (!member.usable) this.#unusable++;
      else if (member.serves) this.#serving++;
    }
  }

  #canSpare(id: string): boolean {
    return this.#serving > 1 && this.#members.get(id)?.usable === true;
  }

  #remember(id: string): void {
    this.#drained.delete(id);
    this.#drained.add(id);
    for (const old of this.#drained) {
      if (this.#drained.size <= MOST_ADMIN_STATES) return;
      if (!this.#members.has(old)) this.#drained.delete(old);
    }
  }

  #tell(kind: HealthEventKind, id: string, reason: string, duration = 0): void {
    const { group, date = Date.now, onEvent } = this.#options;
    onEvent?.({ kind, group, id, reason, at: date(), duration });
  }
}

class Member {
  readonly id: string;
  healthy: boolean;
  reason = "not checked yet";
  drained = false;
  ejected = false;
  /** Whether it has a weight. */
  serves = true;

  constructor(id: string, healthy: boolean) {
    this.id = id;
    this.healthy = healthy;
  }

  /** Whether it could serve if it were not ejected. */
  get works(): boolean {
    return this.healthy && !this.drained && this.serves;
  }

  get usable(): boolean {
    return this.healthy && !this.drained && !this.ejected;
  }
}
