/**
 * From `health_check` and `circuit_breaker` to the settings of those who watch.
 *
 * @module
 */
import type { PassiveSettings } from "../balancer/health/passive.ts";
import type { CheckConfig } from "../balancer/health/table.ts";
import type { BreakerLimits } from "../connector/breaker.ts";
import type { UpstreamData } from "./schema.ts";
import type { ActiveHealthConfig, HealthConfig } from "./types_upstreams.ts";

type HealthData = UpstreamData["health_check"];
type ActiveData = NonNullable<HealthData["active"]>;

export function normalizeHealth(data: HealthData): HealthConfig {
  return {
    active: data.active === undefined ? null : toActive(data.active),
    passive: data.passive === undefined ? null : toPassive(data.passive),
  };
}

function toActive(data: ActiveData): ActiveHealthConfig {
  return {
    settings: {
      interval: data.interval,
      jitter: data.jitter,
      timeout: data.timeout,
      healthy: data.healthy,
      unhealthy: data.unhealthy,
      initial: data.initial,
    },
    check: toCheck(data),
    concurrency: data.concurrency,
  };
}

function toCheck(data: ActiveData): CheckConfig {
  const peer = { port: data.port ?? 0, tls: data.tls };
  if (data.type === "tcp") return { type: "tcp", ...peer };
  const own = { ...peer, host: data.host ?? null, headers: data.headers, reuse: data.reuse };
  if (data.type === "grpc") return { type: "grpc", ...own, service: data.service };
  return {
    type: "http",
    ...own,
    method: data.method,
    path: data.path,
    status: data.expect.status,
    body: data.expect.body ?? null,
    bodyBytes: data.expect.body_bytes,
  };
}

function toPassive(data: NonNullable<HealthData["passive"]>): PassiveSettings {
  const minimum = data.minimum_requests;
  return {
    failures: data.consecutive_failures,
    statuses: data.statuses,
    window: data.window,
    errors: data.error_ratio === 0 ? null : { ratio: data.error_ratio, minimum },
    latency: data.latency_factor === 0
      ? null
      : { factor: data.latency_factor, minimum, floor: data.latency_floor },
    ejection: data.eject,
    maxEjection: data.max_eject,
    maxEjected: data.max_ejected,
  };
}

export function normalizeBreaker(data: UpstreamData["circuit_breaker"]): BreakerLimits | null {
  if (data === undefined) return null;
  return {
    maxRequests: data.max_requests,
    maxPending: data.max_pending,
    consecutiveFailures: data.consecutive_failures,
    errorRatio: data.error_ratio,
    minVolume: data.minimum_requests,
    window: data.window,
    openTime: data.open_for,
    maxOpenTime: data.max_open_for,
    halfOpenProbes: data.half_open_requests,
  };
}
