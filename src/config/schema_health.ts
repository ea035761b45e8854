/**
 * The schema of `health_check` and `circuit_breaker`: when an upstream and its endpoints are left alone.
 *
 * @module
 */
import { z } from "zod";
import { MAX_SERVICE_BYTES } from "../balancer/health/grpc_health.ts";
import { BREAKER_LIMITS } from "../connector/breaker.ts";
import { decimal, duration, integer, leaf, percent, Refusal, size, text, yesNo } from "./leaves.ts";
import { host, method, statuses, target } from "./leaves_http.ts";
import { fieldValues, mapping, optional, withDefault } from "./schema_base.ts";
import { formatDuration, formatPercent } from "./units.ts";

function serviceName(value: unknown): string | Refusal {
  if (typeof value !== "string") return new Refusal("", "", true);
  return new TextEncoder().encode(value).length > MAX_SERVICE_BYTES ? new Refusal("") : value;
}

const expectation = () =>
  mapping({
    status: withDefault(
      z.array(statuses()).min(1),
      ["2xx"],
      'Statuses of a healthy endpoint: `200`, `"2xx"`, `"200-399"`.',
    ),
    body: optional(text("text that the content holds"), "Text that the content must hold."),
    body_bytes: withDefault(
      size(1, 16 * 1024 * 1024),
      "64KiB",
      "How much of the content is read to find it.",
    ),
  });

const active = () =>
  mapping({
    type: withDefault(
      z.enum(["http", "tcp", "grpc"]),
      "http",
      "`http`: a request must be answered as expected. `tcp`: connecting, TLS included, suffices. `grpc`: `grpc.health.v1.Health` must say SERVING.",
    ),
    interval: withDefault(duration(100), "10s", "From one check of an endpoint to the next."),
    jitter: withDefault(
      percent(0.9),
      "10%",
      "How much an interval is made longer or shorter by chance.",
    ),
    timeout: withDefault(duration(1), "2s", "For one check, all of it."),
    healthy: withDefault(
      integer(1, 1000),
      2,
      "Checks in a row that must pass before an unhealthy endpoint is healthy.",
    ),
    unhealthy: withDefault(
      integer(1, 1000),
      3,
      "Checks in a row that must fail before a healthy endpoint is unhealthy.",
    ),
    initial: withDefault(
      z.enum(["healthy", "unhealthy"]),
      "healthy",
      "What an endpoint counts as before its first check; with `unhealthy`, one that passes suffices.",
    ),
    concurrency: withDefault(integer(1, 1024), 64, "Checks of this upstream at a time."),
    port: optional(
      integer(1, 65_535),
      "Port to check. Default: that of the endpoint.",
    ),
    tls: withDefault(
      z.enum(["as_traffic", "off"]),
      "as_traffic",
      "`off`: check in clear text although the traffic is encrypted.",
    ),
    service: withDefault(
      leaf("a name of at most 1024 bytes", { type: "string" }, serviceName),
      "",
      "With `grpc`: the service to ask about; empty: the server as a whole.",
    ),
    method: withDefault(method(), "GET", "Method of the request."),
    path: withDefault(target(), "/", "Path of the request, and query if there is one."),
    host: optional(
      host(),
      "Host to ask for. Default: the name and port that the check connects to.",
    ),
    headers: withDefault(fieldValues(), {}, "Further fields of the request, or metadata."),
    expect: withDefault(expectation(), {}, "What a healthy endpoint answers."),
    reuse: withDefault(
      yesNo(),
      false,
      "Whether the connection is kept for the next check; otherwise each check also tests connecting.",
    ),
  });

const passive = () =>
  mapping({
    consecutive_failures: withDefault(
      integer(0, 1_000_000),
      5,
      "Failures in a row that eject an endpoint; `0`: off.",
    ),
    statuses: withDefault(
      z.array(statuses(400)),
      ["5xx"],
      "Statuses that count as a failure, beside connections that fail.",
    ),
    error_ratio: withDefault(
      percent(),
      "0%",
      "Share of failures within `window` that ejects an endpoint; `0%`: off.",
    ),
    window: withDefault(duration(100), "30s", "Time that shares and averages are taken over."),
    minimum_requests: withDefault(
      integer(1, 1_000_000),
      20,
      "Requests within `window` below which shares and averages say nothing.",
    ),
    latency_factor: withDefault(
      decimal(0, 1000),
      0,
      "Ejects an endpoint whose mean answer time is this many times the median of all; `0`: off.",
    ),
    latency_floor: withDefault(
      duration(),
      "100ms",
      "Mean answer times up to this are never too long.",
    ),
    eject: withDefault(
      duration(1),
      "30s",
      "How long an ejection lasts; each further one in a row, that much longer.",
    ),
    max_eject: withDefault(duration(1), "5m", "How long it lasts at most."),
    max_ejected: withDefault(
      percent(),
      "50%",
      "Share of the endpoints that may be ejected at a time.",
    ),
  });

/** How one knows which endpoints work. */
export const healthSchema = () =>
  mapping({
    active: optional(active(), "Ask each endpoint now and then. Default: nobody is asked."),
    passive: optional(
      passive(),
      "Watch how endpoints answer the traffic, and eject those that fail. Default: nobody is ejected.",
    ),
  });

/** When an upstream as a whole gets no more requests. */
export const breakerSchema = () =>
  mapping({
    max_requests: withDefault(
      integer(0),
      BREAKER_LIMITS.maxRequests,
      "Most requests at a time, per service worker; `0`: no limit.",
    ),
    max_pending: withDefault(
      integer(0),
      BREAKER_LIMITS.maxPending,
      "Most requests that wait for a connection, per service worker; `0`: no limit.",
    ),
    max_connections: optional(
      integer(0),
      "The same as `max_connections` of `transport`, which is for each endpoint.",
    ),
    consecutive_failures: withDefault(
      integer(0, 1_000_000),
      BREAKER_LIMITS.consecutiveFailures,
      "Failures in a row that open it; `0`: off.",
    ),
    error_ratio: withDefault(
      percent(),
      formatPercent(BREAKER_LIMITS.errorRatio),
      "Share of failures within `window` that opens it; `0%`: off.",
    ),
    minimum_requests: withDefault(
      integer(1, 1_000_000),
      BREAKER_LIMITS.minVolume,
      "Requests within `window` below which the share says nothing.",
    ),
    window: withDefault(
      duration(100),
      formatDuration(BREAKER_LIMITS.window),
      "Time that the share is taken over.",
    ),
    open_for: withDefault(
      duration(1),
      formatDuration(BREAKER_LIMITS.openTime),
      "How long it is open, refusing requests with 503, before some are let through again; doubles each time that they fail.",
    ),
    max_open_for: withDefault(
      duration(1),
      formatDuration(BREAKER_LIMITS.maxOpenTime),
      "How long it is open at most.",
    ),
    half_open_requests: withDefault(
      integer(1, 10_000),
      BREAKER_LIMITS.halfOpenProbes,
      "Requests let through then; when they succeed, it closes.",
    ),
  });
