/**
 * The time that an attempt has for its response head, over what the peer's own timeouts say.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamSession } from "../http/session.ts";

/** Cuts an attempt, connecting or connected, when its time is over. */
export class AttemptClock {
  readonly #wheel: TimerWheel;
  readonly #deadline: Deadline;
  readonly #abort = new AbortController();
  /** Aborted when the time is over, or when `outer` is. */
  readonly signal: AbortSignal;
  #upstream: UpstreamSession | null = null;

  /**
   * @param ms Milliseconds from now.
   * @param what Whose time it is, for the message: `per_try_timeout`.
   * @param outer Aborted when the request goes away.
   */
  constructor(wheel: TimerWheel, ms: number, what: string, outer: AbortSignal) {
    this.#wheel = wheel;
    this.#deadline = new Deadline(() => {
      const error = new ProxyError(
        "first_byte_timeout",
        `Response: did not begin within ${what} (${Math.round(ms)} ms)`,
        { source: "upstream" },
      );
      this.#abort.abort(error);
      this.#upstream?.abort(error);
    });
    this.signal = AbortSignal.any([this.#abort.signal, outer]);
    wheel.arm(this.#deadline, ms);
  }

  /** The connection to cut. */
  watch(upstream: UpstreamSession): void {
    this.#upstream = upstream;
  }

  /** The head is there, or the attempt is over. */
  stop(): void {
    this.#wheel.cancel(this.#deadline);
    this.#upstream = null;
  }
}
