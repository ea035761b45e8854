/**
 * Every bound of an HTTP/2 connection, named and defaulted. Whatever a peer can make grow is in here.
 *
 * @module
 */
import { DEFAULT_TABLE_BYTES, MIN_MAX_FRAME } from "./constants.ts";
import { type Abuse, type Allowance, GUARD_LIMITS } from "./guard.ts";

/** Bounds of one side of a connection. Times are milliseconds, sizes bytes. */
export interface Http2Limits {
  /** Streams that the peer may have open (SETTINGS_MAX_CONCURRENT_STREAMS); more: REFUSED_STREAM. */
  readonly maxConcurrentStreams: number;
  /** A field section as RFC 9113 §6.5.2 counts it (SETTINGS_MAX_HEADER_LIST_SIZE); over it: 431. */
  readonly headerListBytes: number;
  /** Fields of a section, pseudo-fields not counted; over it: 431. */
  readonly fields: number;
  /** A field block as it is sent; over it: ENHANCE_YOUR_CALM. */
  readonly headerBlockBytes: number;
  /** CONTINUATION frames of one field block; over it: ENHANCE_YOUR_CALM. */
  readonly continuations: number;
  /** One name or value as it is sent; over it: COMPRESSION_ERROR. */
  readonly headerStringBytes: number;
  /** The dynamic table of the peer's encoder (SETTINGS_HEADER_TABLE_SIZE). */
  readonly headerTableBytes: number;
  /** The longest frame that may come (SETTINGS_MAX_FRAME_SIZE); over it: FRAME_SIZE_ERROR. */
  readonly frameBytes: number;
  /** Content that one stream may have on its way to whoever reads it. At least 65,535. */
  readonly streamWindow: number;
  /** Content that all streams together may have on their way. At least 65,535. */
  readonly connectionWindow: number;
  /** Bytes that are gathered for the peer before whoever sends content must wait. */
  readonly outputBytes: number;
  /** Heads and control frames that may wait for a peer that does not read; then nothing more is read from it. */
  readonly backlogBytes: number;
  /** From our SETTINGS to their acknowledgement; over it: SETTINGS_TIMEOUT. */
  readonly settingsTimeout: number;
  /** From the beginning of a field block to its end, and from the start of a connection to the peer's SETTINGS. */
  readonly headerTimeout: number;
  /** How long a write, or a stream whose window is closed, may wait for the peer. */
  readonly writeTimeout: number;
  /** Bytes per second that the peer must take, instead of `writeTimeout`; `0` is off. */
  readonly minSendRate: number;
  /** What costs a peer little and us much; over it: ENHANCE_YOUR_CALM. */
  readonly guard: Readonly<Record<Abuse, Allowance>>;
}

export const HTTP2_LIMITS: Http2Limits = {
  maxConcurrentStreams: 100,
  headerListBytes: 64 * 1024,
  fields: 200,
  headerBlockBytes: 64 * 1024,
  continuations: 8,
  headerStringBytes: 32 * 1024,
  headerTableBytes: DEFAULT_TABLE_BYTES,
  frameBytes: MIN_MAX_FRAME,
  streamWindow: 256 * 1024,
  connectionWindow: 1024 * 1024,
  outputBytes: 128 * 1024,
  backlogBytes: 256 * 1024,
  settingsTimeout: 10_000,
  headerTimeout: 10_000,
  writeTimeout: 30_000,
  minSendRate: 0,
  guard: GUARD_LIMITS,
};
