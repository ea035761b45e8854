/**
 * From what a route says about its upstreams to how the proxy is to ask them.
 *
 * @module
 */
import type { StatusRange } from "../balancer/health/status_ranges.ts";
import { toHashKey } from "./normalize_balancing.ts";
import type { RouteData } from "./schema.ts";
import { MIN_PER_SECOND } from "./schema_attempts.ts";
import type { RouteConfig } from "./types.ts";
import type { RetryCause, RetryConfig } from "./types_attempts.ts";

/** The parts of a route that say how upstreams are asked. */
export type Attempts = Pick<
  RouteConfig,
  "upstream" | "split" | "mirrors" | "timeouts" | "retry" | "hedge"
>;

/** Fills in what was not said. */
export function normalizeAttempts(data: RouteData): Attempts {
  const { timeouts, hedge } = data;
  return {
    upstream: data.upstream ?? null,
    split: data.split === undefined ? null : {
      parts: data.split.map(({ upstream, weight }) => ({ group: upstream, weight })),
      hashKey: data.split_by === undefined ? null : toHashKey(data.split_by, null),
    },
    mirrors: data.mirror.map((mirror) => ({
      upstream: mirror.upstream,
      share: mirror.percent,
      maxBody: mirror.max_body,
      maxConcurrent: mirror.max_concurrent,
      timeout: mirror.timeout,
    })),
    timeouts: {
      connect: timeouts.connect ?? null,
      responseHeader: timeouts.response_header ?? null,
      read: timeouts.read ?? null,
      write: timeouts.write ?? null,
      tunnelIdle: timeouts.tunnel_idle ?? null,
      tunnel: timeouts.tunnel ?? null,
      grpc: timeouts.grpc ?? null,
      request: timeouts.request ?? null,
    },
    retry: normalizeRetry(data.retry),
    hedge: hedge === undefined ? null : { after: hedge.after, max: hedge.max },
  };
}

function normalizeRetry(data: RouteData["retry"]): RetryConfig {
  const causes = new Set<RetryCause>();
  const statuses: StatusRange[] = [];
  const grpcStatuses = new Set<number>();
  for (const one of data.on) {
    if (typeof one === "string") causes.add(one);
    else if ("grpc" in one) grpcStatuses.add(one.grpc);
    else statuses.push(one);
  }
  const { budget } = data;
  return {
    attempts: data.attempts,
    on: [...causes],
    statuses,
    grpcStatuses: [...grpcStatuses],
    perTryTimeout: data.per_try_timeout ?? null,
    backoff: { base: data.backoff.base, cap: data.backoff.max },
    budget: typeof budget === "number"
      ? { ratio: budget, minPerSecond: MIN_PER_SECOND }
      : { ratio: budget.percent, minPerSecond: budget.min_per_second },
    nonIdempotent: data.non_idempotent,
    bufferBytes: data.buffer_bytes,
  };
}
