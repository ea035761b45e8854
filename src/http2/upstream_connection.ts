/**
 * An HTTP/2 connection to an upstream: as many exchanges at a time as both sides allow.
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { ConnectionFacts, UpstreamSession } from "../http/session.ts";
import type { Socket } from "../transport/socket.ts";
import { Http2Connection } from "./connection.ts";
import { SETTINGS_TIMEOUT } from "./constants.ts";
import { Http2Error } from "./error.ts";
import type { Http2Limits } from "./limits.ts";
import type { Http2Stream } from "./stream.ts";
import { Http2UpstreamSession, type UpstreamHost } from "./upstream_session.ts";

/** What {@linkcode Http2UpstreamConnection} takes. Times are milliseconds. */
export interface Http2UpstreamOptions {
  readonly limits: Http2Limits;
  readonly wheel: TimerWheel;
  /** From the end of a request to the first byte of its response. */
  readonly firstByteTimeout: number;
  /** Between two pieces of a response. */
  readonly readTimeout: number;
  /** Exchanges at a time, if the upstream allows as many. */
  readonly maxStreams: number;
  /** 1xx heads before the final one. */
  readonly informational: number;
  /** Silence after which the upstream is asked by PING; `0`: only when a request has timed out. */
  readonly pingInterval: number;
  /** How long its answer may take. */
  readonly pingTimeout: number;
}

/** A connection to an upstream. */
export class Http2UpstreamConnection implements UpstreamHost {
  readonly facts: ConnectionFacts;
  /** Never called: an exchange that is over is told by `onSlots`. */
  onIdle: (() => void) | null = null;
  /** Called once when it is gone. */
  onClosed: (() => void) | null = null;
  /** Called when an exchange is over, or `capacity` has changed. */
  onSlots: (() => void) | null = null;
  /** Called when the upstream wants HTTP/1.1 instead (RFC 9113 §7). */
  onHttp1Required: (() => void) | null = null;
  /** Why it takes no more exchanges, or was closed, as far as it is known here. */
  ending: "goaway" | "ping_timeout" | null = null;
  readonly #connection: Http2Connection;
  readonly #options: Http2UpstreamOptions;
  readonly #pingDeadline: Deadline = new Deadline(() => this.#onSilence());
  readonly #pongDeadline: Deadline = new Deadline(() => this.#onPongTimeout());
  #pingedAt = 0;
  #streams = 0;
  #requests = 0;
  #closed = false;
  #fault: ProxyError | null = null;
  #opened: { resolve: () => void; reject: (error: ProxyError) => void } | null = null;

  private constructor(socket: Socket, facts: ConnectionFacts, options: Http2UpstreamOptions) {
    const { limits, wheel } = options;
    this.facts = facts;
    this.#options = options;
    this.#connection = new Http2Connection(socket, { server: false, limits, wheel }, {
      onRequest: () => {
        throw new Error("Cannot take a request: the other side is a server");
      },
      onSettings: () => this.#onSettings(),
      onStreamOver: () => this.#onStreamOver(),
      onGoaway: () => {
        this.ending ??= "goaway";
        this.onSlots?.();
      },
      onFault: (error) => {
        this.#fault ??= error;
        // From here on it is of no use, although it closes only when the upstream has been told why.
        this.onSlots?.();
      },
      onClosed: () => this.#onClosed(),
    });
  }

  /**
   * Begins to speak HTTP/2 and waits for the upstream's SETTINGS: before them nobody knows how many streams it takes,
   * nor whether it speaks HTTP/2 at all, and nothing may be lost that was sent.
   *
   * @throws {ProxyError} If they do not come, or something else does; or the reason of the signal.
   */
  static async open(
    socket: Socket,
    facts: ConnectionFacts,
    options: Http2UpstreamOptions,
    signal: AbortSignal,
  ): Promise<Http2UpstreamConnection> {
    const connection = new Http2UpstreamConnection(socket, facts, options);
    const giveUp = () => connection.destroy();
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      if (signal.aborted) giveUp();
      else await connection.#start();
      if (signal.aborted) throw signal.reason;
      return connection;
    } catch (error) {
      connection.destroy();
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** Exchanges that it may carry at a time; `0` once it takes no more. */
  get capacity(): number {
    if (this.leaving) return 0;
    return Math.min(this.#options.maxStreams, this.#connection.peer.maxConcurrentStreams);
  }

  /** Exchanges that it carries. */
  get streams(): number {
    return this.#streams;
  }

  /** Whether it can no longer be used. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Starts an exchange. Only while there are fewer than `capacity`.
   *
   * @throws {ProxyError} `connection_closed`, to be tried again, if there is no place for it.
   */
  begin(method: string): UpstreamSession {
    if (this.#closed || this.#streams >= this.capacity) {
      throw new ProxyError("connection_closed", "Connection: takes no more requests", {
        source: "upstream",
        retry: true,
        unprocessed: true,
      });
    }
    this.#streams++;
    return new Http2UpstreamSession(this, method, this.#requests++ > 0);
  }

  /** Closes at once. */
  destroy(): void {
    this.#connection.destroy(
      new ProxyError("socket_error", "Connection: closed by us", { source: "internal" }),
    );
  }

  // What the sessions call.

  get wheel(): TimerWheel {
    return this.#options.wheel;
  }

  get firstByteTimeout(): number {
    return this.#options.firstByteTimeout;
  }

  get readTimeout(): number {
    return this.#options.readTimeout;
  }

  get informational(): number {
    return this.#options.informational;
  }

  get leaving(): boolean {
    return this.#closed || this.#connection.leaving;
  }

  get upgrades(): boolean {
    return this.#connection.peer.enableConnectProtocol;
  }

  open(): Http2Stream {
    return this.#connection.open();
  }

  requireHttp1(): boolean {
    this.onHttp1Required?.();
    return this.onHttp1Required !== null;
  }

  suspect(since: number): void {
    if (this.#connection.heardAt <= since) this.#ping();
  }

  onUnused(): void {
    this.#onStreamOver();
  }

  #start(): Promise<void> {
    const { wheel, pingInterval } = this.#options;
    return new Promise<void>((resolve, reject) => {
      this.#opened = { resolve, reject };
      this.#connection.start();
      if (pingInterval > 0 && !this.#closed) wheel.arm(this.#pingDeadline, pingInterval);
    });
  }

  #onSettings(): void {
    const opened = this.#opened;
    this.#opened = null;
    if (opened === null) this.onSlots?.();
    else if (this.#connection.peer.maxConcurrentStreams > 0) opened.resolve();
    else opened.reject(failure("connection_limit", "HTTP/2: the upstream takes no requests"));
  }

  #onStreamOver(): void {
    this.#streams--;
    this.onSlots?.();
  }

  #onClosed(): void {
    const { wheel } = this.#options;
    this.#closed = true;
    wheel.cancel(this.#pingDeadline);
    wheel.cancel(this.#pongDeadline);
    const opened = this.#opened;
    this.#opened = null;
    opened?.reject(this.#describeFailure());
    this.onClosed?.();
  }

  /** Why there is no connection: nothing was sent on it, so that is all it means. */
  #describeFailure(): ProxyError {
    const fault = this.#fault;
    if (fault === null) {
      return failure("connection_closed", "HTTP/2: closed by the upstream before its SETTINGS");
    }
    const { cause } = fault;
    const isLate = cause instanceof Http2Error && cause.code === SETTINGS_TIMEOUT;
    if (isLate || fault.type === "read_timeout") {
      return failure(
        "connect_timeout",
        "HTTP/2: the SETTINGS of the upstream did not come in time",
      );
    }
    return failure(fault.type, `${fault.message}; does it speak HTTP/2?`, fault);
  }

  #onSilence(): void {
    const { wheel, pingInterval } = this.#options;
    const silent = wheel.now - this.#connection.heardAt;
    if (silent >= pingInterval) this.#ping();
    wheel.arm(this.#pingDeadline, silent >= pingInterval ? pingInterval : pingInterval - silent);
  }

  #ping(): void {
    if (this.#pongDeadline.armed || this.#closed) return;
    const { wheel, pingTimeout } = this.#options;
    this.#pingedAt = wheel.now;
    wheel.arm(this.#pongDeadline, pingTimeout);
    this.#connection.ping(() => wheel.cancel(this.#pongDeadline));
  }

  #onPongTimeout(): void {
    // Whatever was heard since is a sign of life as good as the answer, which may be stuck behind content.
    if (this.#connection.heardAt > this.#pingedAt) return;
    this.ending = "ping_timeout";
    this.#connection.destroy(
      new ProxyError(
        "ping_timeout",
        `HTTP/2: PING was not answered within ${this.#options.pingTimeout} ms`,
        { source: "upstream" },
      ),
    );
  }
}

function failure(type: ErrorType, message: string, cause?: ProxyError): ProxyError {
  return new ProxyError(type, message, { source: "upstream", retry: true, cause });
}
