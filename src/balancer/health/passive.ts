/**
 * Outlier ejection: members whose traffic goes wrong get none for a while.
 *
 * Runs in each thread that carries traffic, on what that thread sees. Nothing is timed per request: a request costs a
 * few additions, and one deadline per group waits for the next end of an ejection.
 *
 * @module
 */
import type { Clock } from "../../base/clock.ts";
import { ProxyError } from "../../base/error.ts";
import { Deadline, type TimerWheel } from "../../base/timer_wheel.ts";
import type { Outcome } from "../backend.ts";
import { OutcomeWindow } from "./outcome_window.ts";
import { inRanges, SERVER_ERRORS, type StatusRange } from "./status_ranges.ts";

/** When a member is ejected, and for how long. Plain data; times are milliseconds. */
export interface PassiveSettings {
  /** Failures in a row that eject; `0`: they do not. A failure is no connection, no answer, or one of `statuses`. */
  readonly failures: number;
  readonly statuses: readonly StatusRange[];
  /** How far back `errors` and `latency` look. */
  readonly window: number;
  /** Ejects when at least this share of at least so many requests in the window has failed; `null`: off. */
  readonly errors: { readonly ratio: number; readonly minimum: number } | null;
  /**
   * Ejects when the mean answer time over at least `minimum` answers in the window is more than `factor` times the
   * median of the members, and more than `floor`; `null`: off.
   */
  readonly latency:
    | { readonly factor: number; readonly minimum: number; readonly floor: number }
    | null;
  /** Length of a first ejection; the n-th takes n times as long. */
  readonly ejection: number;
  /** Longest ejection. */
  readonly maxEjection: number;
  /**
   * Largest share of the members that may be ejected at a time, rounded down to whole members: with 0.5, one of
   * three and none of one. The last usable member is never ejected.
   */
  readonly maxEjected: number;
}

/** Settings where nothing else is said. */
export const PASSIVE_SETTINGS: PassiveSettings = {
  failures: 5,
  statuses: SERVER_ERRORS,
  window: 30_000,
  errors: null,
  latency: null,
  ejection: 30_000,
  maxEjection: 300_000,
  maxEjected: 0.5,
};

/** What {@linkcode PassiveHealth} takes. */
export interface PassiveHealthOptions {
  readonly settings: PassiveSettings;
  readonly wheel: TimerWheel;
  /** The clock of the wheel. */
  readonly clock: Clock;
  /** Whether a member can be spared. */
  readonly mayEject: (id: string) => boolean;
  /** A member is ejected, for so many milliseconds. */
  readonly onEject: (id: string, reason: string, duration: number) => void;
  /** A member is ejected no more. */
  readonly onReturn: (id: string, reason: string) => void;
}

/** What is known of a member. Plain data. */
export interface PassiveState {
  /** Milliseconds until its ejection ends; `0`: it is not ejected. */
  readonly ejectedFor: number;
  /** Ejections that still count towards the length of the next. */
  readonly ejections: number;
  /** Failures in a row. */
  readonly failuresInARow: number;
  /** In the window; `0` where no rule looks at it. */
  readonly requests: number;
  readonly failures: number;
  /** Mean answer time in the window. */
  readonly latency: number;
}

/** An ejection as another thread may go on with it. Plain data. */
export interface Ejection {
  readonly id: string;
  /** Milliseconds until it ends. */
  readonly left: number;
  /** Ejections that count towards the length of the next, this one among them. */
  readonly ejections: number;
}

/** How often latencies are compared, per window. */
const LATENCY_PARTS = 10;

/** Ejects members of one group. */
export class PassiveHealth {
  readonly #options: PassiveHealthOptions;
  readonly #settings: PassiveSettings;
  readonly #members = new Map<string, Member>();
  /** Those ejected, in the order in which they were. */
  readonly #out = new Set<Member>();
  readonly #deadline: Deadline = new Deadline(() => this.#returnDue());
  #nextLatency = 0;

  /** @throws {ProxyError} `config_error` if the settings make no sense. */
  constructor(options: PassiveHealthOptions) {
    refuseBad(options.settings);
    this.#options = options;
    this.#settings = options.settings;
  }

  /** How many are ejected. */
  get ejected(): number {
    return this.#out.size;
  }

  /** Who is ejected. */
  get ejections(): Ejection[] {
    const now = this.#options.clock.now();
    return [...this.#out].map(({ id, until, ejections }) => ({
      id,
      left: Math.max(1, until! - now),
      ejections,
    }));
  }

  /** How many may be ejected at a time. */
  get allowed(): number {
    const total = this.#members.size;
    // A share such as 0.29 of 100 is a hair less than 29.
    return Math.max(0, Math.min(total - 1, Math.floor(this.#settings.maxEjected * total + 1e-9)));
  }

  /** Whether a member is ejected. */
  isEjected(id: string): boolean {
    return this.#out.size > 0 && this.#members.get(id)?.until !== undefined;
  }

  /** Sets the members. Those that stay keep what is known of them; if too many are ejected then, some return. */
  update(ids: Iterable<string>): void {
    const gone = new Set(this.#members.keys());
    for (const id of ids) {
      if (gone.delete(id) || this.#members.has(id)) continue;
      this.#members.set(id, new Member(id, this.#settings));
    }
    for (const id of gone) {
      this.#out.delete(this.#members.get(id)!);
      this.#members.delete(id);
    }
    while (this.#out.size > this.allowed) {
      this.#return(this.#next()!, "too many members were ejected for those that are left");
    }
    this.#rearm();
  }

  /** Notes how an attempt ended, and ejects if that was once too often. */
  record(id: string, outcome: Outcome): void {
    const { kind, status, latency } = outcome;
    if (kind === "cancelled") return;
    const member = this.#members.get(id);
    // What comes in late from before the ejection was already held against it.
    if (member === undefined || member.until !== undefined) return;
    const { failures, statuses, errors, latency: rule } = this.#settings;
    const answered = kind === "answered";
    const failed = !answered || inRanges(statuses, status);
    const { window } = member;
    const now = window === null ? 0 : this.#options.clock.now();
    if (window !== null) window.add(now, failed, answered ? latency : -1);
    if (failed) {
      member.inARow++;
      if (failures > 0 && member.inARow >= failures) {
        this.#eject(member, `${member.inARow} failures in a row, the last: ${describe(outcome)}`);
      } else if (
        errors !== null && window!.requests >= errors.minimum &&
        window!.failures >= errors.ratio * window!.requests
      ) {
        this.#eject(
          member,
          `${window!.failures} of ${window!.requests} requests failed, the last: ${
            describe(outcome)
          }`,
        );
      }
    } else member.inARow = 0;
    if (rule !== null && now >= this.#nextLatency) this.#compareLatencies(rule, now);
  }

  /**
   * Goes on with an ejection that another thread has begun, and tells nobody.
   *
   * @returns Whether the member can be spared here, too.
   */
  resume({ id, left, ejections }: Ejection): boolean {
    const member = this.#members.get(id);
    if (member === undefined || member.until !== undefined || !(left > 0)) return false;
    if (this.#out.size >= this.allowed || !this.#options.mayEject(id)) return false;
    member.ejections = ejections;
    member.until = this.#options.clock.now() + Math.min(left, this.#settings.maxEjection);
    this.#out.add(member);
    this.#rearm();
    return true;
  }

  /** Ends a member's ejection, if it is ejected. */
  returnNow(id: string, reason: string): void {
    const member = this.#members.get(id);
    if (member === undefined || !this.#out.has(member)) return;
    this.#return(member, reason);
    this.#rearm();
  }

  /** Ends the ejection that would end first among those that `wanted` names. */
  returnOne(wanted: (id: string) => boolean, reason: string): void {
    const member = this.#next(wanted);
    if (member === null) return;
    this.#return(member, reason);
    this.#rearm();
  }

  /** What is known of a member, or `null`. */
  state(id: string): PassiveState | null {
    const member = this.#members.get(id);
    if (member === undefined) return null;
    const now = this.#options.clock.now();
    member.window?.moveTo(now);
    return {
      // The end is noticed up to a tick late; until then it is ejected.
      ejectedFor: member.until === undefined ? 0 : Math.max(1, member.until - now),
      ejections: member.ejections,
      failuresInARow: member.inARow,
      requests: member.window?.requests ?? 0,
      failures: member.window?.failures ?? 0,
      latency: member.window?.latency ?? 0,
    };
  }

  /** Lets go of the wheel. */
  stop(): void {
    this.#options.wheel.cancel(this.#deadline);
  }

  #eject(member: Member, reason: string): void {
    const { clock, mayEject, onEject } = this.#options;
    const { ejection, maxEjection } = this.#settings;
    if (this.#out.size >= this.allowed || !mayEject(member.id)) return;
    const now = clock.now();
    // A member that has behaved for a while is less and less an old offender.
    const forgiven = Math.floor((now - member.returnedAt) / ejection);
    member.ejections = Math.max(0, member.ejections - forgiven) + 1;
    const duration = Math.min(maxEjection, ejection * member.ejections);
    member.until = now + duration;
    member.inARow = 0;
    member.window?.clear();
    this.#out.add(member);
    this.#rearm();
    onEject(member.id, reason, duration);
  }

  #return(member: Member, reason: string): void {
    this.#out.delete(member);
    member.until = undefined;
    member.returnedAt = this.#options.clock.now();
    member.inARow = 0;
    member.window?.clear();
    this.#options.onReturn(member.id, reason);
  }

  #returnDue(): void {
    const now = this.#options.clock.now();
    for (const member of [...this.#out]) {
      if (member.until !== undefined && member.until <= now) {
        this.#return(member, "the time of its ejection is over");
      }
    }
    this.#rearm();
  }

  /** Whose ejection ends first. */
  #next(wanted?: (id: string) => boolean): Member | null {
    let first: Member | null = null;
    for (const member of this.#out) {
      if (wanted !== undefined && !wanted(member.id)) continue;
      if (first === null || member.until! < first.until!) first = member;
    }
    return first;
  }

  #rearm(): void {
    const { wheel, clock } = this.#options;
    const next = this.#next();
    wheel.cancel(this.#deadline);
    if (next !== null) wheel.arm(this.#deadline, Math.max(0, next.until! - clock.now()));
  }

  #compareLatencies(rule: NonNullable<PassiveSettings["latency"]>, now: number): void {
    this.#nextLatency = now + this.#settings.window / LATENCY_PARTS;
    const known: Member[] = [];
    for (const member of this.#members.values()) {
      if (member.until !== undefined) continue;
      member.window!.moveTo(now);
      if (member.window!.answers >= rule.minimum) known.push(member);
    }
    if (known.length < 2) return;
    known.sort((a, b) => a.window!.latency - b.window!.latency);
    // The lower one of two in the middle: or of two members none could be slow.
    const median = known[(known.length - 1) >> 1]!.window!.latency;
    for (let i = known.length - 1; i > 0; i--) {
      const { latency } = known[i]!.window!;
      if (latency <= rule.floor || latency <= rule.factor * median) return;
      this.#eject(
        known[i]!,
        `answers take ${latency.toFixed(1)} ms, those of the group ${median.toFixed(1)} ms`,
      );
    }
  }
}

class Member {
  readonly id: string;
  /** `null` where no rule looks at it. */
  readonly window: OutcomeWindow | null;
  /** When its ejection ends; `undefined`: it is not ejected. */
  until: number | undefined = undefined;
  ejections = 0;
  returnedAt = 0;
  inARow = 0;

  constructor(id: string, settings: PassiveSettings) {
    this.id = id;
    this.window = settings.errors === null && settings.latency === null
      ? null
      : new OutcomeWindow(settings.window);
  }
}

function describe({ kind, status }: Outcome): string {
  return kind === "answered"
    ? `status ${status}`
    : kind === "connect_failed"
    ? "no connection"
    : "no answer";
}

function refuseBad(settings: PassiveSettings): void {
  const { failures, window, errors, latency, ejection, maxEjection, maxEjected } = settings;
  const wrong = !(Number.isInteger(failures) && failures >= 0)
    ? "`failures` must be a whole number"
    : !(window > 0)
    ? "`window` must be more than 0"
    : errors !== null && !(errors.ratio > 0 && errors.ratio <= 1 && errors.minimum >= 1)
    ? "`errors` needs a ratio above 0 and up to 1, and a minimum of at least 1"
    : latency !== null && !(latency.factor > 1 && latency.minimum >= 1 && latency.floor >= 0)
    ? "`latency` needs a factor above 1, a minimum of at least 1 and a floor of at least 0"
    : !(ejection > 0 && maxEjection >= ejection)
    ? "`ejection` must be more than 0, and `maxEjection` no less than it"
    : !(maxEjected >= 0 && maxEjected <= 1)
    ? "`maxEjected` must be 0 to 1"
    : null;
  if (wrong === null) return;
  throw new ProxyError("config_error", `Passive health: ${wrong}`, { source: "internal" });
}
