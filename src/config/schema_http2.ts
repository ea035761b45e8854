/**
 * The schema of `listeners[].http2`.
 *
 * @module
 */
import { DEFAULT_WINDOW, MAX_MAX_FRAME, MIN_MAX_FRAME } from "../http2/constants.ts";
import { type Abuse, GUARD_LIMITS } from "../http2/guard.ts";
import { HTTP2_LIMITS as LIMITS } from "../http2/limits.ts";
import { duration, integer, size } from "./leaves.ts";
import { mapping, withDefault } from "./schema_base.ts";
import { formatDuration, formatSize } from "./units.ts";

const MIB = 1024 * 1024;

function flood(kind: Abuse, description: string) {
  const { burst, perSecond } = GUARD_LIMITS[kind];
  return withDefault(
    mapping({
      burst: withDefault(integer(1), burst, "At once, above the rate."),
      per_second: withDefault(integer(0), perSecond, "In the long run."),
    }),
    {},
    description,
  );
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
      mapping({
        reset_by_peer: flood("resetByPeer", "Requests that the client cancels (rapid reset)."),
        reset_by_us: flood(
          "resetByUs",
          "Requests that must be reset because of what the client sends (made you reset).",
        ),
        settings: flood("settings", "SETTINGS frames."),
        ping: flood("ping", "PING frames."),
        empty_data: flood("emptyData", "DATA frames without content."),
        tiny_window_update: flood(
          "tinyWindowUpdate",
          "WINDOW_UPDATE frames by less than 1024 bytes.",
        ),
        priority: flood("priority", "PRIORITY and PRIORITY_UPDATE frames."),
        unknown: flood("unknown", "Frames of unknown types."),
      }),
      {},
      "What costs a client little and us much; over it the connection ends with ENHANCE_YOUR_CALM.",
    ),
  });
}
