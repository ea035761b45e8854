/**
 * A route as the proxy uses it: what the config said, made ready.
 *
 * @module
 */
import type { Plan } from "./plan.ts";
import type { Rule } from "./rules.ts";

/** One route of a service. */
export interface Route {
  readonly id: string;
  readonly plan: Plan;
  readonly rules: readonly Rule[];
  /** Name of the upstream group, or `null` when hooks or rules must answer. */
  readonly upstream: string | null;
  /** Most bytes of request content, or `null` for what the listener says. */
  readonly bodyBytes: number | null;
  /** Attempts beyond the first when a connection could not be made. */
  readonly connectRetries: number;
  /** Request content kept for another attempt. */
  readonly retryBuffer: number;
}
