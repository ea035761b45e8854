/**
 * Which HTTP version a new connection speaks: by ALPN on TLS, by its first bytes without.
 *
 * @module
 */
import { giveBuffer, SMALL_BUFFER, takeBuffer } from "../base/buffer_pool.ts";
import type { ProxyError } from "../base/error.ts";
import { Deadline } from "../base/timer_wheel.ts";
import type { ListenerProtocol } from "../config/types.ts";
import type { DownstreamConnection, DownstreamOwner } from "../http/downstream.ts";
import type { ConnectionFacts } from "../http/session.ts";
import { Http1DownstreamConnection } from "../http1/downstream_connection.ts";
import type { Http1ServerOptions } from "../http1/server_options.ts";
import { PREFACE } from "../http2/constants.ts";
import {
  Http2DownstreamConnection,
  type Http2ServerOptions,
} from "../http2/downstream_connection.ts";
import type { Socket, SocketHandler } from "../transport/socket.ts";

/** What the connections of a listener are made with. */
export interface CodecOptions extends Http1ServerOptions, Http2ServerOptions {
  readonly protocols: readonly ListenerProtocol[];
}

/** Who wants to know of a connection. */
export interface CodecEvents extends DownstreamOwner {
  /** It is known what the client speaks. */
  onProtocol(protocol: "h1" | "h2"): void;
}

/** Makes the connection for a socket; `start` is still to be called. */
export function chooseCodec(
  socket: Socket,
  facts: ConnectionFacts,
  options: CodecOptions,
  events: CodecEvents,
): DownstreamConnection {
  const { protocols } = options;
  const hasHttp1 = protocols.includes("h1");
  if (socket.tls !== null) {
    // What was not agreed on is not tried: a client that wants HTTP/2 says so (RFC 9113 §3.2).
    const isHttp2 = protocols.includes("h2") && (socket.tls.alpn === "h2" || !hasHttp1);
    return make(isHttp2, socket, facts, options, events);
  }
  if (hasHttp1 && protocols.includes("h2c")) {
    return new SniffedConnection(socket, facts, options, events);
  }
  return make(!hasHttp1, socket, facts, options, events);
}

function make(
  isHttp2: boolean,
  socket: Socket,
  facts: ConnectionFacts,
  options: CodecOptions,
  events: CodecEvents,
): DownstreamConnection {
  events.onProtocol(isHttp2 ? "h2" : "h1");
  return isHttp2
    ? new Http2DownstreamConnection(socket, facts, options, events)
    : new Http1DownstreamConnection(socket, facts, options, events);
}

/** A connection of which it is not yet known what it speaks. */
class SniffedConnection implements DownstreamConnection, SocketHandler {
  readonly #socket: Socket;
  readonly #facts: ConnectionFacts;
  readonly #options: CodecOptions;
  readonly #events: CodecEvents;
  readonly #deadline = new Deadline(() => this.#close());
  #buffer: Uint8Array = takeBuffer(SMALL_BUFFER);
  #length = 0;
  #reading = false;
  #chosen: DownstreamConnection | null = null;
  #draining = false;
  #over = false;

  constructor(
    socket: Socket,
    facts: ConnectionFacts,
    options: CodecOptions,
    events: CodecEvents,
  ) {
    this.#socket = socket;
    this.#facts = facts;
    this.#options = options;
    this.#events = events;
    socket.handler = this;
  }

  get idle(): boolean {
    return this.#chosen === null ? this.#length === 0 : this.#chosen.idle;
  }

  start(): void {
    this.#options.wheel.arm(this.#deadline, this.#options.limits.headerTimeout);
    this.#ask();
  }

  drain(gently: boolean = false): void {
    this.#draining = true;
    if (this.#chosen !== null) this.#chosen.drain(gently);
    else if (!gently) this.#close();
  }

  destroy(): void {
    if (this.#chosen === null) this.#close();
    else this.#chosen.destroy();
  }

  cutServedBy(owner: object, error: ProxyError): number {
    return this.#chosen === null ? 0 : this.#chosen.cutServedBy(owner, error);
  }

  readBuffer(): Uint8Array {
    return this.#buffer.subarray(this.#length);
  }

  onRead(length: number): void {
    this.#reading = false;
    if (length === 0) return this.#close();
    let position = this.#length;
    const end = this.#length += length;
    // Whatever differs from the preface is for HTTP/1 to judge.
    while (position < end && position < PREFACE.length) {
      if (this.#buffer[position] !== PREFACE[position]) return this.#choose(false);
      position++;
    }
    if (position === PREFACE.length) this.#choose(true);
    else this.#ask();
  }

  onDrain(): void {}

  onError(): void {
    this.#close();
  }

  #ask(): void {
    this.#reading = true;
    this.#socket.read();
  }

  #choose(isHttp2: boolean): void {
    const { wheel } = this.#options;
    wheel.cancel(this.#deadline);
    const buffer = this.#buffer;
    this.#chosen = make(isHttp2, this.#socket, this.#facts, this.#options, this.#events);
    this.#chosen.start(buffer.subarray(0, this.#length));
    if (this.#draining) this.#chosen.drain(true);
    giveBuffer(buffer);
  }

  #close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.wheel.cancel(this.#deadline);
    if (!this.#socket.closed) this.#socket.destroy();
    // A read that is outstanding may still write into it.
    if (!this.#reading) giveBuffer(this.#buffer);
    this.#events.onClosed();
  }
}
