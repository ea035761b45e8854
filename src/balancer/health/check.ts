/**
 * What an active health check is to the engine that runs it.
 *
 * @module
 */
import type { Peer } from "../../connector/peer.ts";
import type { Run } from "./bounded_run.ts";

/** A member to check. A `Backend` is one. */
export interface CheckTarget {
  /** Stable name: the address as text. */
  readonly id: string;
  /** How traffic reaches it; a check goes the same way. */
  readonly peer: Peer;
}

/** One way to find out whether a member works. */
export interface HealthCheck {
  /**
   * Checks a member once. Closes what it has opened when `run.signal` aborts, and names the error of the stage it is
   * in by `run.timeoutType`.
   *
   * @throws {ProxyError} If the member does not work; its type and message are the reason that is told.
   */
  check(target: CheckTarget, run: Run): Promise<void>;
  /** Closes what it keeps between two checks. */
  close(): void;
}
