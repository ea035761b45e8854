/**
 * When a request is tried again: what the operator wants, as far as it is safe.
 *
 * Safe means that nothing was sent, or that the request may be sent twice, or that the operator says so. Whatever is
 * allowed here is taken out of the budget.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import { backoffDelay } from "../connector/backoff.ts";
import { RetryBudget } from "../connector/retry_budget.ts";
import { isIdempotent } from "../http/method.ts";

/** What a policy is made from. Times are milliseconds. */
export interface RetrySettings {
  /** Attempts beyond the first. */
  readonly attempts: number;
  readonly on: readonly ("connect_failure" | "reset" | "timeout")[];
  /** Statuses after which another attempt is made. */
  readonly statuses: readonly { readonly from: number; readonly to: number }[];
  /** Codes of gRPC after which another attempt is made. */
  readonly grpcStatuses: readonly number[];
  /** From the beginning of an attempt to its response head; `null`: what the timeouts say. */
  readonly perTryTimeout: number | null;
  readonly backoff: { readonly base: number; readonly cap: number };
  readonly budget: { readonly ratio: number; readonly minPerSecond: number };
  readonly nonIdempotent: boolean;
  /** Request content kept for another attempt. */
  readonly bufferBytes: number;
}

/** What a policy looks at: a request and how far it has come. */
export interface RetrySubject {
  /** Attempts made, the one that failed included. */
  readonly attempt: number;
  /** How many of them only made good for a pooled connection that had turned out to be dead. Those are free. */
  readonly replays: number;
  readonly downstream: { readonly responded: boolean };
  readonly content: { readonly replayable: boolean };
  upstreamRequest(): { readonly method: string };
}

/** The retry policy of a route in one service worker. */
export class RetryPolicy {
  readonly settings: RetrySettings;
  readonly #budget: RetryBudget;

  constructor(settings: RetrySettings) {
    this.settings = settings;
    this.#budget = new RetryBudget(settings.budget);
  }

  /** Retries that were refused because the budget was used up. */
  get refused(): number {
    return this.#budget.refused;
  }

  /** Retries that the budget would allow now. */
  get left(): number {
    return this.#budget.left;
  }

  /** Counts a request; once for each. */
  request(): void {
    if (this.settings.attempts > 0) this.#budget.request();
  }

  /** Whether a status calls for another attempt and one may be made, which is then taken out of the budget. */
  allowsStatus(exchange: RetrySubject, status: number): boolean {
    const { statuses } = this.settings;
    if (statuses.length === 0 || !statuses.some(({ from, to }) => status >= from && status <= to)) {
      return false;
    }
    return this.#isSafe(exchange) && this.#allowsAnswer(exchange);
  }

  /**
   * The same for the code of a gRPC call that nothing else has come of. Calls are all POST: whoever lists a code wants
   * them made again.
   */
  allowsGrpc(exchange: RetrySubject, code: number): boolean {
    return this.settings.grpcStatuses.includes(code) && this.#allowsAnswer(exchange);
  }

  /**
   * Whether an error calls for another attempt and one may be made, which is then taken out of the budget.
   *
   * @param connected Whether there was a connection: before, nothing can have been sent.
   */
  allowsError(exchange: RetrySubject, error: ProxyError, connected: boolean): boolean {
    const cause = causeOf(error, connected);
    if (cause === null || !this.settings.on.includes(cause)) return false;
    const unsent = !connected || error.unprocessed;
    return this.#hasAttempt(exchange) && (unsent || this.#isSafe(exchange)) &&
      this.#budget.retry();
  }

  /** How long to wait before the next attempt, in milliseconds. */
  delay(exchange: RetrySubject): number {
    const { base, cap } = this.settings.backoff;
    return base === 0 ? 0 : backoffDelay(tries(exchange) - 1, { base, cap });
  }

  #allowsAnswer(exchange: RetrySubject): boolean {
    return this.#hasAttempt(exchange) && exchange.content.replayable &&
      !exchange.downstream.responded && this.#budget.retry();
  }

  #hasAttempt(exchange: RetrySubject): boolean {
    return tries(exchange) <= this.settings.attempts;
  }

  #isSafe(exchange: RetrySubject): boolean {
    return this.settings.nonIdempotent || isIdempotent(exchange.upstreamRequest().method);
  }
}

function tries({ attempt, replays }: RetrySubject): number {
  return attempt - replays;
}

/** The error types that a connection can break with before there is a response head. */
const RESETS: ReadonlySet<ProxyError["type"]> = new Set([
  "connection_closed",
  "read_error",
  "write_error",
  "socket_error",
  "incomplete_response",
  "stream_reset",
  "ping_timeout",
]);
const TIMEOUTS: ReadonlySet<ProxyError["type"]> = new Set([
  "first_byte_timeout",
  "read_timeout",
  "write_timeout",
]);

function causeOf(
  error: ProxyError,
  connected: boolean,
): "connect_failure" | "reset" | "timeout" | null {
  if (error.source !== "upstream") return null;
  // As if there had been no connection.
  if (error.unprocessed) return "connect_failure";
  // A timeout of the whole attempt may come before its connection.
  if (TIMEOUTS.has(error.type)) return "timeout";
  if (!connected) return error.type === "circuit_open" ? null : "connect_failure";
  return RESETS.has(error.type) ? "reset" : null;
}
