/**
 * Active health checks of one group: who is checked, when, and when its health flips.
 *
 * Runs once in the program, on the thread that carries no traffic. It tells flips; that thread posts them to those
 * that do.
 *
 * @module
 */
import type { Clock } from "../../base/clock.ts";
import { ProxyError } from "../../base/error.ts";
import { Deadline, type TimerWheel } from "../../base/timer_wheel.ts";
import { runBounded } from "./bounded_run.ts";
import type { CheckTarget, HealthCheck } from "./check.ts";
import type { CheckSlots, SlotUser } from "./check_slots.ts";
import type { HealthFlip } from "./messages.ts";

/** When members are checked and what it takes to flip. Plain data; times are milliseconds. */
export interface ActiveSettings {
  /** From the beginning of one check to that of the next. */
  readonly interval: number;
  /** How much an interval is made longer or shorter by chance, as a share of it: `0` to `0.9`. */
  readonly jitter: number;
  /** For one check, all of it. */
  readonly timeout: number;
  /** Checks in a row that must pass before an unhealthy member is healthy. */
  readonly healthy: number;
  /** Checks in a row that must fail before a healthy member is unhealthy. */
  readonly unhealthy: number;
  /** What a member counts as before anything is known. With `unhealthy` the first check that passes suffices. */
  readonly initial: "healthy" | "unhealthy";
}

/** Settings where nothing else is said. */
export const ACTIVE_SETTINGS: ActiveSettings = {
  interval: 10_000,
  jitter: 0.1,
  timeout: 2_000,
  healthy: 2,
  unhealthy: 3,
  initial: "healthy",
};

/** What one check came to. */
export interface CheckResult {
  readonly group: string;
  readonly id: string;
  /** Why it failed, or `null`. */
  readonly error: ProxyError | null;
  /** How long it took, in milliseconds. */
  readonly duration: number;
}

/** What {@linkcode ActiveHealth} takes. */
export interface ActiveHealthOptions {
  /** Name of the upstream group. */
  readonly group: string;
  readonly settings: ActiveSettings;
  /** How to check. Closed by `stop`. */
  readonly check: HealthCheck;
  readonly wheel: TimerWheel;
  /** The clock of the wheel. */
  readonly clock: Clock;
  /** Milliseconds since 1970, for the time in messages. Default `Date.now`. */
  readonly date?: () => number;
  /** Bounds how many checks run at a time; groups may share one. */
  readonly slots: CheckSlots;
  /** From 0 up to 1. Default `Math.random`. */
  readonly random?: () => number;
  readonly onFlip: (flip: HealthFlip) => void;
  /** Called after each check. */
  readonly onResult?: (result: CheckResult) => void;
}

/** What is known of a member. Plain data. */
export interface ActiveState {
  readonly id: string;
  readonly healthy: boolean;
  /** Results in a row that speak for the other state. */
  readonly against: number;
  /** Checks that have ended. */
  readonly checks: number;
  /** Why the last one failed, or `null`. */
  readonly lastError: string | null;
  /** When the last one ended, in milliseconds since 1970; `0`: none has. */
  readonly lastAt: number;
}

/** Checks the members of a group. */
export class ActiveHealth {
  readonly #options: ActiveHealthOptions;
  readonly #members = new Map<string, Member>();
  #stopped = false;

  /** @throws {ProxyError} `config_error` if the settings make no sense. */
  constructor(options: ActiveHealthOptions) {
    refuseBad(options.settings);
    this.#options = options;
  }

  /**
   * Sets who is checked. New members are checked at once, those that are gone no longer; the others go on as they
   * were, also where how they are reached has changed.
   *
   * @param known Health of members by id from before, as of a configuration that this one replaces.
   */
  update(targets: readonly CheckTarget[], known?: ReadonlyMap<string, boolean>): void {
    if (this.#stopped) return;
    const gone = new Set(this.#members.keys());
    const added: Member[] = [];
    for (const target of targets) {
      gone.delete(target.id);
      const member = this.#members.get(target.id);
      if (member !== undefined) {
        member.target = target;
        continue;
      }
      const made = new Member(target, this.#options, known?.get(target.id));
      this.#members.set(target.id, made);
      added.push(made);
    }
    for (const id of gone) {
      this.#members.get(id)!.stop();
      this.#members.delete(id);
    }
    for (const member of added) member.start();
  }

  /** Checks all members now, besides the regular checks. */
  refresh(): void {
    for (const member of this.#members.values()) member.start();
  }

  /** What is known of each member. */
  snapshot(): ActiveState[] {
    return [...this.#members.values()].map((member) => member.state());
  }

  /** Flips for a thread that has just begun: the members that are not as `settings.initial` says. */
  flips(): HealthFlip[] {
    const initial = this.#options.settings.initial === "healthy";
    return [...this.#members.values()]
      .filter((member) => member.healthy !== initial)
      .map((member) => member.flip());
  }

  /** Stops all checks, at once and for good. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const member of this.#members.values()) member.stop();
    this.#members.clear();
    this.#options.check.close();
  }
}

/** One member: waits for its time, for a slot, and for the check, in turn. */
class Member implements SlotUser {
  target: CheckTarget;
  healthy: boolean;
  readonly #options: ActiveHealthOptions;
  readonly #deadline: Deadline = new Deadline(() => this.start());
  readonly #stop: AbortController = new AbortController();
  #running = false;
  #verdict: boolean;
  #against = 0;
  #checks = 0;
  #lastError: string | null = null;
  #lastAt = 0;
  #reason: string;
  #flippedAt: number;

  constructor(target: CheckTarget, options: ActiveHealthOptions, known: boolean | undefined) {
    this.target = target;
    this.#options = options;
    this.healthy = known ?? options.settings.initial === "healthy";
    this.#verdict = known !== undefined || this.healthy;
    this.#reason = known === undefined ? "not checked yet" : "known from before";
    this.#flippedAt = this.#date();
  }

  /** Checks now, unless a check goes on. */
  start(): void {
    if (this.#running || this.#stop.signal.aborted) return;
    this.#options.wheel.cancel(this.#deadline);
    this.#options.slots.ask(this);
  }

  stop(): void {
    const { wheel, slots } = this.#options;
    wheel.cancel(this.#deadline);
    slots.leave(this);
    this.#stop.abort();
  }

  state(): ActiveState {
    return {
      id: this.target.id,
      healthy: this.healthy,
      against: this.#against,
      checks: this.#checks,
      lastError: this.#lastError,
      lastAt: this.#lastAt,
    };
  }

  flip(): HealthFlip {
    return {
      kind: "health_flip",
      group: this.#options.group,
      id: this.target.id,
      healthy: this.healthy,
      reason: this.#reason,
      at: this.#flippedAt,
    };
  }

  onSlot(): void {
    this.#running = true;
    const { check, settings, wheel, clock } = this.#options;
    const { target } = this;
    const since = clock.now();
    runBounded({
      wheel,
      timeout: settings.timeout,
      timeoutType: "connect_timeout",
      context: `Checking ${target.id}`,
      signal: this.#stop.signal,
    }, (run) => check.check(target, run)).then(
      () => this.#ended(since, null),
      (error) => this.#ended(since, error),
    );
  }

  #ended(since: number, error: ProxyError | null): void {
    const { slots, settings, wheel, clock, random = Math.random } = this.#options;
    this.#running = false;
    try {
      if (this.#stop.signal.aborted) return;
      const duration = clock.now() - since;
      const spread = 1 + (random() * 2 - 1) * settings.jitter;
      // Armed first: what a listener throws must not end the checks of this member.
      wheel.arm(this.#deadline, Math.max(0, settings.interval * spread - duration));
      this.#count(error, duration);
    } finally {
      slots.release();
    }
  }

  #count(error: ProxyError | null, duration: number): void {
    const { settings, group, onResult, onFlip } = this.#options;
    const passed = error === null;
    this.#checks++;
    this.#lastAt = this.#date();
    this.#lastError = passed ? null : `${error.type}: ${error.message}`;
    if (passed === this.healthy) this.#against = 0;
    else this.#against++;
    const needed = passed ? this.#verdict ? settings.healthy : 1 : settings.unhealthy;
    const flips = this.#against >= needed;
    if (flips) {
      const passes = this.#against === 1 ? "a check has passed" : `${this.#against} checks passed`;
      this.healthy = passed;
      this.#verdict = true;
      this.#against = 0;
      this.#flippedAt = this.#lastAt;
      this.#reason = this.#lastError ?? passes;
    }
    try {
      onResult?.({ group, id: this.target.id, error, duration });
      if (flips) onFlip(this.flip());
    } catch (thrown) {
      reportError(thrown);
    }
  }

  #date(): number {
    return (this.#options.date ?? Date.now)();
  }
}

function refuseBad(settings: ActiveSettings): void {
  const { interval, jitter, timeout, healthy, unhealthy } = settings;
  const wrong = !(interval > 0)
    ? "`interval` must be more than 0"
    : !(timeout > 0)
    ? "`timeout` must be more than 0"
    : !(jitter >= 0 && jitter <= 0.9)
    ? "`jitter` must be 0 to 0.9"
    : !(healthy >= 1 && unhealthy >= 1)
    ? "`healthy` and `unhealthy` must be at least 1"
    : null;
  if (wrong === null) return;
  throw new ProxyError("config_error", `Health check: ${wrong}`, { source: "internal" });
}
