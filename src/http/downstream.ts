/**
 * What the connections of clients have in common, whatever version they speak.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { DownstreamLimits } from "./limits.ts";
import type { ResponseHead } from "./message.ts";
import type { ConnectionFacts, DownstreamSession } from "./session.ts";

/** What the connections of one listener share. */
export interface DownstreamOptions {
  /** Name of the listener. */
  readonly listener: string;
  readonly limits: DownstreamLimits;
  readonly wheel: TimerWheel;
  /** Whether CONNECT is handed out; else it is refused with 405. */
  readonly allowConnect: boolean;
  /** Whether a client that ends its direction while a response is pending counts as gone. One of HTTP/2 always does. */
  readonly abortOnClose: boolean;
  /** Handles one request; when it returns or its promise resolves the exchange is over. Never rejects. */
  readonly serve: (session: DownstreamSession) => void | Promise<void>;
  /** Makes the answer to a request that could not be read or is not allowed, and takes note of it. */
  readonly refuse: (
    error: ProxyError,
    connection: ConnectionFacts,
  ) => { readonly head: ResponseHead; readonly body: Uint8Array };
}

/** Who has made a connection. */
export interface DownstreamOwner {
  /** It is closed, and no request of it is left. Called once. */
  onClosed(): void;
}

/** A client's connection. */
export interface DownstreamConnection {
  /** Whether no request is being received or served. */
  readonly idle: boolean;
  /**
   * Begins reading.
   *
   * @param received Bytes that were read from the socket already; they may be read over afterwards.
   */
  start(received?: Uint8Array): void;
  /**
   * Closes when idle, else after what is being served.
   *
   * @param gently Whether one that is idle may bring one more request first: it may be on its way. Default `false`.
   */
  drain(gently?: boolean): void;
  /** Closes at once. */
  destroy(): void;
  /**
   * Cuts the requests that somebody serves (`DownstreamSession.servedBy`), and no others: their clients see that the
   * response is not whole.
   *
   * @returns How many there were.
   */
  cutServedBy(owner: object, error: ProxyError): number;
}
