/**
 * From `listeners[].http2` and `listeners[].limits` to the bounds of HTTP/2 connections.
 *
 * @module
 */
import type { DownstreamLimits } from "../http/limits.ts";
import type { Allowance } from "../http2/guard.ts";
import { HTTP2_LIMITS, type Http2Limits } from "../http2/limits.ts";
import type { FileData } from "./schema.ts";

/** Puts together what holds for every version and what is HTTP/2's own. */
export function normalizeHttp2(
  data: FileData["listeners"][number]["http2"],
  limits: DownstreamLimits,
): Http2Limits {
  const { floods } = data;
  return {
    maxConcurrentStreams: data.max_concurrent_streams,
    headerListBytes: data.header_list_bytes,
    fields: limits.fields,
    headerBlockBytes: data.header_block_bytes,
    continuations: data.continuations,
    headerStringBytes: data.header_string_bytes,
    headerTableBytes: data.header_table_bytes,
    frameBytes: data.frame_bytes,
    streamWindow: data.stream_window,
    connectionWindow: data.connection_window,
    outputBytes: HTTP2_LIMITS.outputBytes,
    backlogBytes: HTTP2_LIMITS.backlogBytes,
    settingsTimeout: data.settings_timeout,
    headerTimeout: limits.headerTimeout,
    writeTimeout: limits.writeTimeout,
    minSendRate: limits.minSendRate,
    guard: {
      resetByPeer: allowance(floods.reset_by_peer),
      resetByUs: allowance(floods.reset_by_us),
      settings: allowance(floods.settings),
      ping: allowance(floods.ping),
      emptyData: allowance(floods.empty_data),
      tinyWindowUpdate: allowance(floods.tiny_window_update),
      priority: allowance(floods.priority),
      unknown: allowance(floods.unknown),
    },
  };
}

function allowance(data: { readonly burst: number; readonly per_second: number }): Allowance {
  return { burst: data.burst, perSecond: data.per_second };
}
