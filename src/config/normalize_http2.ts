/**
 * From the config to how HTTP/2 is spoken: with clients, by `listeners[].http2` and `listeners[].limits`, and with
 * endpoints, by `upstreams[].transport.http2`.
 *
 * @module
 */
import type { Http2PeerOptions } from "../connector/http2_options.ts";
import type { DownstreamLimits } from "../http/limits.ts";
import type { Abuse, Allowance } from "../http2/guard.ts";
import { HTTP2_LIMITS, type Http2Limits } from "../http2/limits.ts";
import type { FileData, UpstreamData } from "./schema.ts";

/** Puts together what holds for every version and what is HTTP/2's own. */
export function normalizeHttp2(
  data: FileData["listeners"][number]["http2"],
  limits: DownstreamLimits,
): Http2Limits {
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
    guard: allowances(data.floods),
  };
}

/** What the config says of HTTP/2 with the endpoints of an upstream. */
export function normalizePeerHttp2(
  data: UpstreamData["transport"]["http2"],
): Http2PeerOptions {
  return {
    maxStreams: data.max_streams,
    settingsTimeout: data.settings_timeout,
    pingInterval: data.ping_interval,
    pingTimeout: data.ping_timeout,
    http1For: data.http1_for,
    streamWindow: data.stream_window,
    connectionWindow: data.connection_window,
    headerListBytes: data.header_list_bytes,
    headerBlockBytes: data.header_block_bytes,
    headerStringBytes: data.header_string_bytes,
    headerTableBytes: data.header_table_bytes,
    continuations: data.continuations,
    frameBytes: data.frame_bytes,
    guard: allowances(data.floods),
  };
}

type Floods = FileData["listeners"][number]["http2"]["floods"];

function allowances(floods: Floods): Record<Abuse, Allowance> {
  return {
    resetByPeer: allowance(floods.reset_by_peer),
    resetByUs: allowance(floods.reset_by_us),
    settings: allowance(floods.settings),
    ping: allowance(floods.ping),
    emptyData: allowance(floods.empty_data),
    tinyWindowUpdate: allowance(floods.tiny_window_update),
    priority: allowance(floods.priority),
    unknown: allowance(floods.unknown),
  };
}

function allowance(data: { readonly burst: number; readonly per_second: number }): Allowance {
  return { burst: data.burst, perSecond: data.per_second };
}
