/**
 * Requests that wait for a place under a peer's `maxConnections`, first come, first served.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamSession } from "../http/session.ts";
import { abortError } from "../transport/io_error.ts";
import type { Peer } from "./peer.ts";

/** One request that waits. */
export interface Waiter {
  readonly peer: Peer;
  readonly method: string;
  /** The protocol that the request wants to switch to, or empty. */
  readonly upgrade: string;
  readonly signal: AbortSignal | undefined;
  resolve(session: UpstreamSession): void;
  reject(error: unknown): void;
}

/** A request before it waits. */
export type Request = Pick<Waiter, "peer" | "method" | "upgrade" | "signal">;

/** The line in front of one peer. */
export class WaitingLine {
  readonly #wheel: TimerWheel;
  /** In the order of arrival; a set, because many leave from the middle. */
  readonly #waiters = new Set<Waiter & { leave(): void }>();

  constructor(wheel: TimerWheel) {
    this.#wheel = wheel;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiters.size;
  }

  /**
   * Waits for a place.
   *
   * @throws {ProxyError} `connection_limit` if the line is too long or the wait is; or the reason of the signal.
   */
  join({ peer, method, upgrade, signal }: Request): Promise<UpstreamSession> {
    const { maxConnections, maxPending, pendingTimeout } = peer.options;
    const full = `Connecting to ${peer.label}: all ${maxConnections} connections are busy`;
    if (this.#waiters.size >= maxPending) {
      return Promise.reject(limitError(`${full} and ${this.#waiters.size} requests wait already`));
    }
    if (signal?.aborted) return Promise.reject(abortError(signal, full));
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiters.delete(waiter);
        this.#wheel.cancel(deadline);
        signal?.removeEventListener("abort", onAbort);
      };
      const deadline = new Deadline(() => {
        leave();
        reject(limitError(`${full}, and none became free within ${pendingTimeout} ms`));
      });
      const onAbort = () => {
        leave();
        reject(abortError(signal!, full));
      };
      const waiter = { peer, method, upgrade, signal, resolve, reject, leave };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#wheel.arm(deadline, pendingTimeout);
      this.#waiters.add(waiter);
    });
  }

  /** The first one in the line, or `null`. */
  get first(): Waiter | null {
    for (const waiter of this.#waiters) return waiter;
    return null;
  }

  /** Takes the first one out of the line, or `null`. */
  next(): Waiter | null {
    for (const waiter of this.#waiters) {
      waiter.leave();
      return waiter;
    }
    return null;
  }
}

function limitError(message: string): ProxyError {
  return new ProxyError("connection_limit", message, { source: "upstream" });
}
