/**
 * The schema of what a route says about its upstream: how long, how often, and who besides.
 *
 * @module
 */
import { z } from "zod";
import { duration, integer, name, percent, size, yesNo } from "./leaves.ts";
import { grpcStatus, statuses } from "./leaves_http.ts";
import { hashKeySchema } from "./schema_balancing.ts";
import { mapping, optional, required, withDefault } from "./schema_base.ts";

/** What may go wrong with an attempt, beside statuses. */
export const RETRY_CAUSES = ["connect_failure", "reset", "timeout"] as const;

/** Further attempts per second that a retry budget always allows. */
export const MIN_PER_SECOND = 3;

/** Times over those of the upstream. */
export const timeoutsSchema = () =>
  mapping({
    connect: optional(duration(1), "For a new connection, name look-up and TLS included."),
    response_header: optional(
      duration(1),
      "From the end of the request to the first byte of the response.",
    ),
    read: optional(duration(1), "Between two pieces of the response."),
    write: optional(duration(1), "How long a write may wait for the upstream to read."),
    tunnel_idle: optional(
      duration(),
      "How long a tunnel (WebSocket, CONNECT) may be silent in both directions; `0`: no limit.",
    ),
    tunnel: optional(duration(), "How long a tunnel may last; `0`: no limit."),
    grpc: optional(
      duration(1),
      "For a whole gRPC call, if its client does not want it sooner by `grpc-timeout`; over it: `DEADLINE_EXCEEDED`. Default: what the client says.",
    ),
    request: optional(
      duration(1),
      "From the request head to the response head, all attempts together; over it: 504. Default: no limit beyond those of the attempts.",
    ),
  });

const backoff = () =>
  mapping({
    base: withDefault(
      duration(),
      "25ms",
      "Longest wait before the second attempt; it doubles with each further one, and is drawn by chance.",
    ),
    max: withDefault(duration(), "250ms", "Longest wait of all."),
  });

const budget = () =>
  mapping({
    percent: withDefault(
      percent(),
      "20%",
      "Further attempts that may be made, as a share of the requests of the route.",
    ),
    min_per_second: withDefault(
      integer(0, 1_000_000),
      MIN_PER_SECOND,
      "Further attempts per second that are always allowed, per service worker.",
    ),
  });

/** Further attempts. */
export const retrySchema = () =>
  mapping({
    attempts: withDefault(integer(0, 16), 1, "Attempts beyond the first."),
    on: withDefault(
      z.array(z.union([z.enum(RETRY_CAUSES), statuses(400), grpcStatus()])),
      ["connect_failure"],
      'What is tried again. `connect_failure`: the connection could not be made. `reset`: it broke before the response. `timeout`: there was no response in time. `"502"`, `"5xx"`: the status of the response. `grpc:unavailable`: that of a gRPC call, if nothing else has come; calls are all POST, so naming it is the permission to make them again.',
    ),
    per_try_timeout: optional(
      duration(1),
      "From the beginning of an attempt to its response head. Default: the timeouts of the upstream.",
    ),
    backoff: withDefault(backoff(), {}, "Waiting between attempts."),
    budget: withDefault(
      z.union([percent(), budget()]),
      {},
      "What keeps further attempts from making an overload worse: a percentage, or a mapping.",
    ),
    non_idempotent: withDefault(
      yesNo(),
      false,
      "Whether POST, PATCH and the like are tried again after they were sent; the upstream may then act twice.",
    ),
    buffer_bytes: withDefault(
      size(),
      "64KiB",
      "Request content kept for another attempt; a request with more cannot be tried again.",
    ),
  });

/** A second attempt while the first still runs. */
export const hedgeSchema = () =>
  mapping({
    after: required(
      duration(1),
      "How long the response may take before another endpoint is asked, too. The first response is taken.",
    ),
    max: withDefault(integer(1, 4), 1, "Most further endpoints asked."),
  });

/** A copy of requests. */
export const mirrorSchema = () =>
  mapping({
    upstream: required(name(), "Name of the upstream that gets copies. Its responses are dropped."),
    percent: withDefault(percent(), "100%", "Share of the requests that are copied."),
    max_body: withDefault(
      size(),
      "64KiB",
      "Most request content that is copied; requests with more are not.",
    ),
    max_concurrent: withDefault(
      integer(1, 100_000),
      100,
      "Most copies under way, per service worker; beyond it, requests are not copied.",
    ),
    timeout: withDefault(duration(1), "10s", "For one copy, all of it."),
  });

/** One of several upstreams of a route. */
export const splitSchema = () =>
  mapping({
    upstream: required(name(), "Name of the upstream."),
    weight: withDefault(integer(0, 65_535), 1, "Share of the requests; `0` gets none."),
  });

/** What keeps a client with its part of a split. */
export const splitBySchema = () => hashKeySchema();
