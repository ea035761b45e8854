/**
 * The schemas of `listeners[].http2` and `upstreams[].transport.http2`.
 *
 * @module
 */
import { DEFAULT_WINDOW, MAX_MAX_FRAME, MAX_WINDOW, MIN_MAX_FRAME } from "../http2/constants.ts";
import { HTTP2_PEER_OPTIONS as PEER } from "../connector/http2_options.ts";
import { type Abuse, type Allowance, GUARD_LIMITS } from "../http2/guard.ts";
import { HTTP2_LIMITS as LIMITS } from "../http2/limits.ts";
import { duration, integer, size } from "./leaves.ts";
import { mapping, withDefault } from "./schema_base.ts";
import { formatDuration, formatSize } from "./units.ts";

const MIB = 1024 * 1024;

/** What costs a peer little and us much. */
function floods(defaults: Readonly<Record<Abuse, Allowance>>, peer: string) {
  const one = (kind: Abuse, description: string) => {
    const { burst, perSecond } = defaults[kind];
    return withDefault(
      mapping({
        burst: withDefault(integer(1), burst, "At once, above the rate."),
        per_second: withDefault(integer(0), perSecond, "In the long run."),
      }),
      {},
      description,
    );
  };
  return mapping({
    reset_by_peer: one("resetByPeer", `Requests that the ${peer} cancels (rapid reset).`),
    reset_by_us: one(
      "resetByUs",
      `Requests that must be reset because of what the ${peer} sends (made you reset).`,
    ),
    settings: one("settings", "SETTINGS frames."),
    ping: one("ping", "PING frames."),
    empty_data: one("emptyData", "DATA frames without content."),
    tiny_window_update: one("tinyWindowUpdate", "WINDOW_UPDATE frames by less than 1024 bytes."),
    priority: one("priority", "PRIORITY and PRIORITY_UPDATE frames."),
    unknown: one("unknown", "Frames of unknown types."),
  });
}

/** Bounds of HTTP/2 connections of clients, beside `limits`. */
export function listenerHttp2() {
  return mapping({
    max_concurrent_streams: withDefault(
      integer(1, 10_000),
      LIMITS.maxConcurrentStreams,
      "Requests that one connection may have open at a time; further ones are refused, to be tried again.",
    ),
    header_list_bytes: withDefault(
      size(1024, 16 * MIB),
      formatSize(LIMITS.headerListBytes),
      "Fields of a request, names and values plus 32 bytes each; over it: 431.",
    ),
    header_block_bytes: withDefault(
      size(1024, 16 * MIB),
      formatSize(LIMITS.headerBlockBytes),
      "The same as sent, compressed; over it the connection ends.",
    ),
    header_string_bytes: withDefault(
      size(1024, 16 * MIB),
      formatSize(LIMITS.headerStringBytes),
      "One name or value as sent; over it the connection ends.",
    ),
    header_table_bytes: withDefault(
      size(0, MIB),
      formatSize(LIMITS.headerTableBytes),
      "Table that the client may compress with, in memory per connection.",
    ),
    continuations: withDefault(
      integer(0, 1000),
      LIMITS.continuations,
      "CONTINUATION frames of one field block; over it the connection ends.",
    ),
    frame_bytes: withDefault(
      size(MIN_MAX_FRAME, MAX_MAX_FRAME),
      formatSize(LIMITS.frameBytes),
      "The longest frame that a client may send.",
    ),
    stream_window: withDefault(
      size(DEFAULT_WINDOW, 1024 * MIB),
      formatSize(LIMITS.streamWindow),
      "Request content of one stream that may be on its way to the upstream.",
    ),
    connection_window: withDefault(
      size(DEFAULT_WINDOW, 1024 * MIB),
      formatSize(LIMITS.connectionWindow),
      "The same for all streams of a connection together: what one client can make us hold.",
    ),
    settings_timeout: withDefault(
      duration(1),
      formatDuration(LIMITS.settingsTimeout),
      "How long a client may take to acknowledge our SETTINGS.",
    ),
    floods: withDefault(
      floods(GUARD_LIMITS, "client"),
      {},
      "What costs a client little and us much; over it the connection ends with ENHANCE_YOUR_CALM.",
    ),
  });
}

/** HTTP/2 connections to endpoints. */
export function upstreamHttp2() {
  return mapping({
    max_streams: withDefault(
      integer(1, 100_000),
      PEER.maxStreams,
      "Requests at a time on one connection; fewer where the endpoint says so.",
    ),
    settings_timeout: withDefault(
      duration(1),
      formatDuration(PEER.settingsTimeout),
      "How long the SETTINGS of the endpoint may take, without which no request is sent; also its acknowledgement of ours, and one field block.",
    ),
    ping_interval: withDefault(
      duration(),
      formatDuration(PEER.pingInterval),
      "Silence after which the endpoint is asked by PING; `0`: only when a request has timed out.",
    ),
    ping_timeout: withDefault(
      duration(1),
      formatDuration(PEER.pingTimeout),
      "How long its answer may take before the connection counts as dead.",
    ),
    http1_for: withDefault(
      duration(1),
      formatDuration(PEER.http1For),
      "With `auto`: how long an endpoint that has refused HTTP/2 for a request is asked by HTTP/1.1.",
    ),
    stream_window: withDefault(
      size(DEFAULT_WINDOW, MAX_WINDOW),
      formatSize(PEER.streamWindow),
      "Response content of one request that may be on its way.",
    ),
    connection_window: withDefault(
      size(0, MAX_WINDOW),
      "0",
      "The same for all requests of a connection; `0`: as much as `max_streams` of them may have. With less, clients that do not read can hold up others.",
    ),
    header_list_bytes: withDefault(
      size(1024, 16 * MIB),
      formatSize(PEER.headerListBytes),
      "Fields of a response, names and values plus 32 bytes each.",
    ),
    header_block_bytes: withDefault(
      size(1024, 16 * MIB),
      formatSize(PEER.headerBlockBytes),
      "The same as sent, compressed; over it the connection ends.",
    ),
    header_string_bytes: withDefault(
      size(1024, 16 * MIB),
      formatSize(PEER.headerStringBytes),
      "One name or value as sent; over it the connection ends.",
    ),
    header_table_bytes: withDefault(
      size(0, MIB),
      formatSize(PEER.headerTableBytes),
      "Table that the endpoint may compress with, in memory per connection.",
    ),
    continuations: withDefault(
      integer(0, 1000),
      PEER.continuations,
      "CONTINUATION frames of one field block; over it the connection ends.",
    ),
    frame_bytes: withDefault(
      size(MIN_MAX_FRAME, MAX_MAX_FRAME),
      formatSize(PEER.frameBytes),
      "The longest frame that the endpoint may send.",
    ),
    floods: withDefault(
      floods(PEER.guard, "endpoint"),
      {},
      "What costs the endpoint little and us much; over it the connection ends with ENHANCE_YOUR_CALM.",
    ),
  });
}
