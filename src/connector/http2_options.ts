/**
 * How HTTP/2 is spoken with a peer.
 *
 * @module
 */
import { type Abuse, type Allowance, UPSTREAM_GUARD_LIMITS } from "../http2/guard.ts";
import { HTTP2_LIMITS } from "../http2/limits.ts";

/** Options of HTTP/2 connections to a peer. Times are milliseconds, sizes bytes. */
export interface Http2PeerOptions {
  /** Requests at a time on one connection; fewer if the peer's SETTINGS_MAX_CONCURRENT_STREAMS says so. */
  readonly maxStreams: number;
  /** How long the peer's SETTINGS may take, without which no request is sent. */
  readonly settingsTimeout: number;
  /** Silence after which the peer is asked by PING whether it is still there; `0`: only when a request has timed out. */
  readonly pingInterval: number;
  /** How long its answer to PING may take before the connection counts as dead. */
  readonly pingTimeout: number;
  /** Response content of one request that may be on its way (SETTINGS_INITIAL_WINDOW_SIZE). */
  readonly streamWindow: number;
  /**
   * The same for all requests of a connection together; `0`: as much as `maxStreams` of them may have. With less, a few
   * clients that do not read can hold up the others.
   */
  readonly connectionWindow: number;
  /** A head or trailer section as RFC 9113 §6.5.2 counts it (SETTINGS_MAX_HEADER_LIST_SIZE). */
  readonly headerListBytes: number;
  /** The same as it is sent; over it the connection ends. */
  readonly headerBlockBytes: number;
  /** One name or value as it is sent; over it the connection ends. */
  readonly headerStringBytes: number;
  /** The dynamic table of the peer's encoder (SETTINGS_HEADER_TABLE_SIZE). */
  readonly headerTableBytes: number;
  /** CONTINUATION frames of one field block; over it the connection ends. */
  readonly continuations: number;
  /** Longest frame that the peer may send (SETTINGS_MAX_FRAME_SIZE). */
  readonly frameBytes: number;
  /** What costs the peer little and us much; over it the connection ends. */
  readonly guard: Readonly<Record<Abuse, Allowance>>;
  /** How long a peer that has asked for HTTP/1.1 (HTTP_1_1_REQUIRED) is asked by it; only where both may be spoken. */
  readonly http1For: number;
}

export const HTTP2_PEER_OPTIONS: Http2PeerOptions = {
  maxStreams: 100,
  settingsTimeout: 5_000,
  pingInterval: 0,
  pingTimeout: 5_000,
  streamWindow: 512 * 1024,
  connectionWindow: 0,
  headerListBytes: HTTP2_LIMITS.headerListBytes,
  headerBlockBytes: HTTP2_LIMITS.headerBlockBytes,
  headerStringBytes: HTTP2_LIMITS.headerStringBytes,
  headerTableBytes: HTTP2_LIMITS.headerTableBytes,
  continuations: HTTP2_LIMITS.continuations,
  frameBytes: 64 * 1024,
  guard: UPSTREAM_GUARD_LIMITS,
  http1For: 600_000,
};
