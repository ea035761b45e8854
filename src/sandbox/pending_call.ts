/**
 * A call that waits for its sandbox, on the side of the service worker.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { HostSession } from "../plugin/handler.ts";
import type { Failure } from "../plugin/session.ts";
import type { CallMeter } from "./call_meter.ts";
import type { PhaseShape } from "./protocol.ts";

/** After this long a call is slow, and it is worth the cost to learn when its request goes away. */
const SLOW = 40;

/** What a pending call tells its link. */
export interface PendingOwner {
  /** The deadline has passed. */
  expired(call: PendingCall): void;
  /** The request is over; the hook may stop. */
  cancelled(call: PendingCall): void;
}

/** One call. The objects are used again. */
export class PendingCall {
  readonly #owner: PendingOwner;
  readonly #timers: TimerWheel;
  readonly #deadline = new Deadline(() => this.#timeout());
  readonly #abort = (): void => {
    if (this.resolve !== null) this.#owner.cancelled(this);
  };
  #signal: AbortSignal | null = null;
  #slow = false;
  #left = 0;
  #armedAt = 0;
  #began = 0;
  id = 0;
  meter: CallMeter | null = null;
  shape: PhaseShape | null = null;
  session: HostSession | null = null;
  failure: Failure | null = null;
  /** Whether the content of the request is being read for it. */
  reading = false;
  resolve: ((value: unknown) => void) | null = null;
  reject: ((error: ProxyError) => void) | null = null;
  /** What the promise takes; kept, because a closure per call would be the dearer. */
  readonly executor = (
    resolve: (value: unknown) => void,
    reject: (error: ProxyError) => void,
  ): void => {
    this.resolve = resolve;
    this.reject = reject;
  };

  constructor(owner: PendingOwner, timers: TimerWheel) {
    this.#owner = owner;
    this.#timers = timers;
  }

  /** Begins to wait. */
  arm(timeout: number): void {
    const early = this.session !== null && !this.shape!.over && timeout > SLOW;
    this.#slow = !early;
    this.#left = early ? timeout - SLOW : 0;
    this.#timers.arm(this.#deadline, early ? SLOW : timeout);
    this.#armedAt = this.#timers.now + (early ? SLOW : timeout);
    if (this.meter !== null) this.#began = systemClock.now();
  }

  /** Tells the meter that it is over. */
  measure(plugin: string, error: ProxyError | null): void {
    this.meter?.called(plugin, this.shape!.phase, systemClock.now() - this.#began, error);
  }

  /** Stops the clock: what is waited for now is not the plugin's doing. */
  pause(): void {
    if (this.#deadline.armed) this.#left += Math.max(1, this.#armedAt - this.#timers.now);
    this.#timers.cancel(this.#deadline);
    this.#watch();
  }

  /** Starts the clock again. */
  resume(): void {
    this.#slow = true;
    this.#timers.arm(this.#deadline, this.#left);
    this.#armedAt = this.#timers.now + this.#left;
    this.#left = 0;
  }

  /** Lets go of everything, to be used again. */
  release(): void {
    this.#timers.cancel(this.#deadline);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#signal = null;
    this.shape = null;
    this.meter = null;
    this.session = null;
    this.failure = null;
    this.reading = false;
    this.resolve = null;
    this.reject = null;
  }

  #timeout(): void {
    if (this.#slow) return this.#owner.expired(this);
    this.#slow = true;
    this.#timers.arm(this.#deadline, this.#left);
    this.#armedAt = this.#timers.now + this.#left;
    this.#left = 0;
    this.#watch();
  }

  #watch(): void {
    if (this.#signal !== null || this.session === null || this.shape!.over) return;
    this.#signal = this.session.signal;
    if (this.#signal.aborted) this.#abort();
    else this.#signal.addEventListener("abort", this.#abort, { once: true });
  }
}

/** The error of a failed call. */
export function callError(
  type: "plugin_error" | "plugin_timeout" | "plugin_unavailable",
  plugin: string,
  shape: PhaseShape,
  message: string,
): ProxyError {
  return new ProxyError(type, `plugin "${plugin}", ${shape.phase}: ${message}`, {
    source: "internal",
  });
}
