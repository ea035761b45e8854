/**
 * Between a connection and the server's or the client's side of it.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import type { Http2Limits } from "./limits.ts";
import type { Http2Stream } from "./stream.ts";

/** Who a connection belongs to: the server's or the client's side of it. */
export interface Http2ConnectionOwner {
  /**
   * Server only: a client has opened a stream. The owner gives it a handler, or releases it, and calls its
   * `receivedEnd` if `endStream`. The block is read over afterwards.
   *
   * @throws {Http2Error} A stream error, if the request is malformed.
   */
  onRequest(stream: Http2Stream, block: FieldBlock, endStream: boolean): void;
  /** The peer's settings have come, or changed. */
  onSettings(): void;
  /** A stream is over and released: there is room for another. */
  onStreamOver(): void;
  /** The peer takes no more streams; those above `lastStream` were not processed and have been told so. */
  onGoaway(lastStream: number, code: number): void;
  /** The peer broke a rule of the connection, or was too slow: it ends. To be written down. */
  onFault(error: ProxyError): void;
  /** It is closed. Called once. */
  onClosed(): void;
}

/** What a connection is made from. */
export interface Http2ConnectionOptions {
  /** Whether the peer is a client. */
  readonly server: boolean;
  readonly limits: Http2Limits;
  readonly wheel: TimerWheel;
}
