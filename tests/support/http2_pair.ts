/**
 * Two HTTP/2 connections that talk to each other through memory, driven by hand.
 *
 * @module
 */
import { ManualClock } from "../../src/base/clock.ts";
import type { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { Http2Connection } from "../../src/http2/connection.ts";
import type { Http2ConnectionOwner } from "../../src/http2/connection_owner.ts";
import type { FieldBlock } from "../../src/http2/hpack/field_block.ts";
import { HTTP2_LIMITS, type Http2Limits } from "../../src/http2/limits.ts";
import { readRequest, readTrailers } from "../../src/http2/request_message.ts";
import { readResponse } from "../../src/http2/response_message.ts";
import type { Http2Stream, StreamHandler } from "../../src/http2/stream.ts";
import { MemorySocket, settled } from "./memory_socket.ts";

/** What a side has seen on a stream. */
export class StreamLog implements StreamHandler {
  readonly stream: Http2Stream;
  readonly lines: string[] = [];
  error: ProxyError | null = null;
  resetCode = -1;
  readonly #server: boolean;

  constructor(stream: Http2Stream, server: boolean) {
    this.stream = stream;
    this.#server = server;
    stream.handler = this;
  }

  /** Takes the head of a request. */
  request(block: FieldBlock, endStream: boolean): void {
    const { head } = readRequest(block, this.stream.id, endStream, {
      targetBytes: 8192,
      allowConnect: true,
    });
    this.lines.push(`${head.method} ${head.target} ${head.authority}`);
    for (const [name, value] of head.fields) this.lines.push(`${name}: ${value}`);
    if (endStream) this.stream.receivedEnd(null);
  }

  onHeaders(block: FieldBlock, endStream: boolean): void {
    if (!this.#server && this.lines.every((line) => !/^[2-5]\d\d$/.test(line))) {
      const { head } = readResponse(block, this.stream.id, endStream);
      this.lines.push(String(head.status));
      for (const [name, value] of head.fields) this.lines.push(`${name}: ${value}`);
      if (endStream) this.stream.receivedEnd(null);
    } else this.stream.receivedEnd(readTrailers(block, this.stream.id, endStream));
  }

  onReset(code: number): ProxyError {
    this.resetCode = code;
    return this.error = Object.assign(new Error(`reset ${code}`)) as ProxyError;
  }

  onError(error: ProxyError): void {
    this.error = error;
  }
}

/** One side of the pair. */
export class Side implements Http2ConnectionOwner {
  readonly socket = new MemorySocket();
  readonly connection: Http2Connection;
  readonly streams: StreamLog[] = [];
  readonly faults: string[] = [];
  goaway = "";
  closed = false;
  over = 0;
  readonly #server: boolean;

  constructor(server: boolean, limits: Http2Limits, wheel: TimerWheel) {
    this.#server = server;
    this.connection = new Http2Connection(this.socket, { server, limits, wheel }, this);
  }

  onRequest(stream: Http2Stream, block: FieldBlock, endStream: boolean): void {
    const log = new StreamLog(stream, true);
    this.streams.push(log);
    log.request(block, endStream);
  }

  /** Opens a stream of a client. */
  open(): StreamLog {
    const log = new StreamLog(this.connection.open(), this.#server);
    this.streams.push(log);
    return log;
  }

  onSettings(): void {}

  onStreamOver(): void {
    this.over++;
  }

  onGoaway(lastStream: number, code: number): void {
    this.goaway = `${lastStream} ${code}`;
  }

  onFault(error: ProxyError): void {
    this.faults.push(error.message);
  }

  onClosed(): void {
    this.closed = true;
  }
}

/** A client and a server. */
export class Http2Pair {
  readonly clock = new ManualClock();
  readonly wheel = new TimerWheel({ clock: this.clock });
  readonly client: Side;
  readonly server: Side;

  constructor(client: Partial<Http2Limits> = {}, server: Partial<Http2Limits> = {}) {
    this.client = new Side(false, { ...HTTP2_LIMITS, ...client }, this.wheel);
    this.server = new Side(true, { ...HTTP2_LIMITS, ...server }, this.wheel);
    this.client.connection.start();
    this.server.connection.start();
  }

  /** Whether writes wait until they are carried, as on engines that report later. */
  stalls = false;

  /** Carries bytes until nobody has any. */
  async run(): Promise<void> {
    for (let quiet = 0; quiet < 2;) {
      await settled();
      for (const { socket } of [this.client, this.server]) {
        socket.drain();
        socket.stalled = this.stalls;
      }
      const toServer = this.client.socket.sent;
      const toClient = this.server.socket.sent;
      quiet = toServer.length + toClient.length === 0 ? quiet + 1 : 0;
      this.client.socket.clear();
      this.server.socket.clear();
      if (toServer.length > 0) this.server.socket.feed(toServer);
      if (toClient.length > 0) this.client.socket.feed(toClient);
    }
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    this.wheel.advance();
    await this.run();
  }
}
