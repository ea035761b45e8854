/**
 * A member that comes (back) into service gets its share of the requests little by little: caches are cold, code is
 * not compiled, connections are not made.
 *
 * @module
 */
import type { Clock } from "../../base/clock.ts";
import { ProxyError } from "../../base/error.ts";
import { Deadline, type TimerWheel } from "../../base/timer_wheel.ts";

/** How a share grows. Plain data. */
export interface SlowStartSettings {
  /** Milliseconds until a member gets its whole share. */
  readonly window: number;
  /** Share that it begins with: more than 0, up to 1. */
  readonly minimum: number;
  /** `1`: grows evenly; more: faster at first; less: slower at first. */
  readonly aggression: number;
}

/** Settings where nothing else is said. */
export const SLOW_START: SlowStartSettings = { window: 30_000, minimum: 0.1, aggression: 1 };

/** Steps in which a growing share is announced. */
const STEPS = 20;

/** The share of a member that began `elapsed` milliseconds ago. */
export function slowStartFactor(elapsed: number, settings: SlowStartSettings): number {
  const { window, minimum, aggression } = settings;
  if (elapsed >= window) return 1;
  const grown = Math.pow(Math.max(0, elapsed) / window, 1 / aggression);
  return Math.min(1, Math.max(minimum, grown));
}

/** Keeps who is starting. */
export class SlowStart {
  readonly #settings: SlowStartSettings;
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  readonly #onStep: () => void;
  readonly #since = new Map<string, number>();
  readonly #deadline: Deadline = new Deadline(() => this.#step());

  /**
   * @param clock The clock of the wheel.
   * @param onStep Called while somebody is starting, each time that shares have grown noticeably.
   * @throws {ProxyError} `config_error` if the settings make no sense.
   */
  constructor(settings: SlowStartSettings, clock: Clock, wheel: TimerWheel, onStep: () => void) {
    const { window, minimum, aggression } = settings;
    if (!(window > 0 && minimum > 0 && minimum <= 1 && aggression > 0)) {
      throw new ProxyError(
        "config_error",
        "Slow start: `window` and `aggression` must be more than 0, `minimum` more than 0 and at most 1",
        { source: "internal" },
      );
    }
    this.#settings = settings;
    this.#clock = clock;
    this.#wheel = wheel;
    this.#onStep = onStep;
  }

  /** How many are starting. */
  get size(): number {
    return this.#since.size;
  }

  /** A member begins now. */
  begin(id: string): void {
    this.#since.set(id, this.#clock.now());
    if (!this.#deadline.armed) this.#wheel.arm(this.#deadline, this.#settings.window / STEPS);
  }

  /** A member is gone, or gets no requests any more. */
  end(id: string): void {
    if (this.#since.delete(id) && this.#since.size === 0) this.#wheel.cancel(this.#deadline);
  }

  /** Share of its weight that a member gets now. */
  factor(id: string): number {
    if (this.#since.size === 0) return 1;
    const since = this.#since.get(id);
    return since === undefined ? 1 : slowStartFactor(this.#clock.now() - since, this.#settings);
  }

  /** Stops announcing. */
  stop(): void {
    this.#since.clear();
    this.#wheel.cancel(this.#deadline);
  }

  #step(): void {
    const now = this.#clock.now();
    for (const [id, since] of this.#since) {
      if (now - since >= this.#settings.window) this.#since.delete(id);
    }
    if (this.#since.size > 0) this.#wheel.arm(this.#deadline, this.#settings.window / STEPS);
    this.#onStep();
  }
}
