/**
 * What health tells: plain data that can be posted to another thread, logged, counted and given to plugins.
 *
 * @module
 */

/** A member's active health has changed. From the thread that checks to those that carry traffic. */
export interface HealthFlip {
  readonly kind: "health_flip";
  /** Name of the upstream group. */
  readonly group: string;
  /** Id of the member. */
  readonly id: string;
  readonly healthy: boolean;
  /** What the last check came to: `type: message` of its error, or how many have passed. */
  readonly reason: string;
  /** When, in milliseconds since 1970. */
  readonly at: number;
}

/** How the members of a group change. */
export type HealthEventKind =
  /** Active checks have passed. */
  | "healthy"
  /** Active checks have failed. */
  | "unhealthy"
  /** Traffic went wrong: it gets no requests for a while. */
  | "ejected"
  /** An ejection is over. */
  | "returned"
  /** An operator has taken it out of service. */
  | "drained"
  /** An operator has put it back. */
  | "enabled";

/** One change, with the reason for people to read. */
export interface HealthEvent {
  readonly kind: HealthEventKind;
  readonly group: string;
  readonly id: string;
  readonly reason: string;
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** For how many milliseconds it is ejected; `0` for the other kinds. */
  readonly duration: number;
}
