/**
 * The HTTP/2 connection of a client: any number of requests at a time, each on a stream of its own.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline } from "../base/timer_wheel.ts";
import type {
  DownstreamConnection,
  DownstreamOptions,
  DownstreamOwner,
} from "../http/downstream.ts";
import type { ConnectionFacts } from "../http/session.ts";
import type { Socket } from "../transport/socket.ts";
import { Http2Connection } from "./connection.ts";
import type { Http2ConnectionOwner } from "./connection_owner.ts";
import { INTERNAL_ERROR, NO_ERROR } from "./constants.ts";
import { type DownstreamHost, Http2DownstreamSession } from "./downstream_session.ts";
import { Http2Error } from "./error.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import type { Http2Limits } from "./limits.ts";
import { type Http2Request, readRequest, type RequestRules } from "./request_message.ts";
import type { Http2Stream } from "./stream.ts";

/** What the HTTP/2 connections of one listener share. */
export interface Http2ServerOptions extends DownstreamOptions {
  readonly http2: Http2Limits;
  /** Takes note of a stream, or a connection, that had to end without an answer because of what its client did. */
  readonly onFault: (error: ProxyError, connection: ConnectionFacts) => void;
}

/** A client's connection. */
export class Http2DownstreamConnection
  implements DownstreamConnection, DownstreamHost, Http2ConnectionOwner {
  readonly facts: ConnectionFacts;
  readonly #options: Http2ServerOptions;
  readonly #connection: Http2Connection;
  readonly #owner: DownstreamOwner;
  readonly #rules: RequestRules;
  readonly #deadline = new Deadline(() => this.#onIdleTimeout());
  #requests = 0;

  constructor(
    socket: Socket,
    facts: ConnectionFacts,
    options: Http2ServerOptions,
    owner: DownstreamOwner,
  ) {
    this.facts = facts;
    this.#options = options;
    this.#owner = owner;
    this.#rules = {
      targetBytes: options.limits.targetBytes,
      allowConnect: options.allowConnect,
    };
    this.#connection = new Http2Connection(socket, {
      server: true,
      limits: options.http2,
      wheel: options.wheel,
    }, this);
  }

  get idle(): boolean {
    return this.#connection.live === 0;
  }

  get listener(): string {
    return this.#options.listener;
  }

  get reusable(): boolean {
    return !this.#connection.leaving;
  }

  start(received?: Uint8Array): void {
    this.#connection.start(received);
  }

  drain(gently: boolean = false): void {
    this.#connection.drain(gently);
  }

  destroy(): void {
    this.#connection.destroy(
      new ProxyError("shutting_down", "Connection: closed by us", { source: "internal" }),
    );
  }

  cutServedBy(owner: object, error: ProxyError): number {
    let cut = 0;
    for (const { handler } of this.#connection.streams.values()) {
      if (!(handler instanceof Http2DownstreamSession) || handler.servedBy !== owner) continue;
      handler.cut(error);
      cut++;
    }
    return cut;
  }

  // What the connection calls.

  onRequest(stream: Http2Stream, block: FieldBlock, endStream: boolean): void {
    let request: Http2Request;
    try {
      request = readRequest(block, stream.id, endStream, this.#rules);
    } catch (error) {
      if (error instanceof Http2Error) {
        this.#options.onFault(this.#connection.fault(error), this.facts);
      }
      if (!(error instanceof ProxyError)) throw error;
      if (endStream) stream.receivedEnd(null);
      this.#refuse(stream, error.from("downstream"), false);
      return;
    }
    const { bodyMinRate, bodyTimeout, bodyBytes, requestsPerConnection } = this.#options.limits;
    const { content } = stream;
    if (!request.isTunnel) {
      content.announced = request.contentLength;
      content.limit = bodyBytes;
      content.minRate = bodyMinRate;
    }
    content.timeout = bodyTimeout;
    content.onTimeout = bodyTimedOut;
    this.#requests++;
    const session = new Http2DownstreamSession(this, stream, request, this.#requests);
    if (endStream) stream.receivedEnd(null);
    this.#serve(session);
    if (requestsPerConnection > 0 && this.#requests >= requestsPerConnection) this.drain();
  }

  onSettings(): void {
    if (this.idle) this.#arm();
  }

  onStreamOver(): void {
    if (this.idle) this.#arm();
  }

  onGoaway(): void {
    // The client opens no more streams; those that are open go on. It closes when it has what it wants.
  }

  onFault(error: ProxyError): void {
    this.#options.onFault(error, this.facts);
  }

  onClosed(): void {
    this.#options.wheel.cancel(this.#deadline);
    this.#owner.onClosed();
  }

  #serve(session: Http2DownstreamSession): void {
    let served: void | Promise<void>;
    try {
      served = this.#options.serve(session);
    } catch (error) {
      this.#broke(session, error);
      return;
    }
    if (served === undefined) this.#over(session);
    else served.then(() => this.#over(session), (error) => this.#broke(session, error));
  }

  /** A bug in `serve`: it may not take more down than this stream. Passing on our own failure is none. */
  #broke(session: Http2DownstreamSession, error: unknown): void {
    if (error !== session.failure) reportError(error);
    session.abort(ProxyError.wrap(error, "internal_error", "Serving a request", "internal"));
    this.#over(session);
  }

  #over(session: Http2DownstreamSession): void {
    const { complete, failure, responded, stream } = session;
    const isHead = session.head.method === "HEAD";
    session.detach();
    stream.handler = null;
    if (!responded && failure === null) {
      const error = new ProxyError("internal_error", "Request: served without a response");
      this.#refuse(stream, error, isHead);
    } else this.#finish(stream, complete ? NO_ERROR : INTERNAL_ERROR);
  }

  /** Lets go of a stream; what the client still sends on it is not wanted (RFC 9113 §8.1). */
  #finish(stream: Http2Stream, code: number): void {
    if (!stream.closed) stream.reset(code, new ProxyError("internal_error", "Stream: over"));
    stream.release();
  }

  /** Answers what could not be read as a request, or was not served. */
  #refuse(stream: Http2Stream, error: ProxyError, isHead: boolean): void {
    if (error.status === 0) return this.#finish(stream, INTERNAL_ERROR);
    const { head, body } = this.#options.refuse(error, this.facts);
    const ends = isHead || body.length === 0;
    stream.sendResponse(head, body.length, ends);
    const sent = ends ? undefined : stream.send(body, true);
    const finish = () => this.#finish(stream, NO_ERROR);
    if (sent === undefined) finish();
    else sent.then(finish, finish);
  }

  // Time.

  /** A fresh connection has the time of a head to begin, also where none is kept for a next request. */
  #arm(): void {
    const { limits, wheel } = this.#options;
    const { headerTimeout, keepAliveTimeout } = limits;
    wheel.arm(
      this.#deadline,
      this.#requests === 0 ? Math.max(headerTimeout, keepAliveTimeout) : keepAliveTimeout,
    );
  }

  #onIdleTimeout(): void {
    // Left in the wheel while requests run: moving it later is cheaper than taking it out.
    if (this.idle) this.#connection.leave(NO_ERROR);
  }
}

function bodyTimedOut(slow: boolean): ProxyError {
  return new ProxyError(
    "body_timeout",
    slow ? "Request content: came too slowly" : "Request content: did not come",
    { source: "downstream" },
  );
}
