/**
 * One request of an HTTP/2 client and the response to it: one stream.
 *
 * @module
 */
import { giveBuffer } from "../base/buffer_pool.ts";
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import type { Fields } from "../http/fields.ts";
import { hasNoContent, type RequestHead, ResponseHead } from "../http/message.ts";
import type { ConnectionFacts, DownstreamSession, Framing } from "../http/session.ts";
import { dropForbiddenTrailers } from "../http/trailers.ts";
import { CANCEL, ERROR_CODE_NAMES, INTERNAL_ERROR } from "./constants.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import { type Http2Request, readTrailers } from "./request_message.ts";
import type { Http2Stream, StreamHandler } from "./stream.ts";

/** What a session needs of its connection. */
export interface DownstreamHost {
  readonly facts: ConnectionFacts;
  readonly listener: string;
  /** Whether it will carry another request. */
  readonly reusable: boolean;
}

/** Implements {@linkcode DownstreamSession} over a stream. */
export class Http2DownstreamSession implements DownstreamSession, StreamHandler {
  readonly head: RequestHead;
  readonly startedAt: number;
  readonly requestNumber: number;
  readonly contentLength: number;
  readonly upgrade: string;
  readonly acceptsTrailers = true;
  readonly expectsContinue: boolean;
  onFailure: ((error: ProxyError) => void) | null = null;
  servedBy: object | null = null;
  status = 0;
  failure: ProxyError | null = null;
  readonly stream: Http2Stream;
  readonly #host: DownstreamHost;
  readonly #headBytes: Uint8Array;
  /** Whether DATA is a tunnel's and so nobody's before `startTunnel`. */
  readonly #tunnelAsked: boolean;
  #tunnel = false;
  /** Content bytes still to be written; `-1` if nobody knows. */
  #left = -1;
  #noContent = false;
  #ended = false;
  #over = false;

  constructor(
    host: DownstreamHost,
    stream: Http2Stream,
    request: Http2Request,
    requestNumber: number,
  ) {
    this.#host = host;
    this.#headBytes = request.bytes;
    this.stream = stream;
    this.head = request.head;
    this.contentLength = request.contentLength;
    this.upgrade = request.upgrade;
    this.expectsContinue = request.expectsContinue;
    this.#tunnelAsked = request.isTunnel;
    this.requestNumber = requestNumber;
    this.startedAt = systemClock.now();
    stream.handler = this;
  }

  get connection(): ConnectionFacts {
    return this.#host.facts;
  }

  get listener(): string {
    return this.#host.listener;
  }

  get responded(): boolean {
    return this.status !== 0;
  }

  get keepAlive(): boolean {
    return this.#host.reusable;
  }

  /** Has no effect: how one response ends does not concern the other streams. */
  set keepAlive(_keep: boolean) {}

  get bytesSent(): number {
    return this.stream.bytesSent;
  }

  get bodyBytes(): number {
    return this.stream.content.bytes;
  }

  get bodyDone(): boolean {
    return this.#hasNoContent || this.stream.content.done;
  }

  get trailers(): Fields | null {
    return this.#over ? null : this.stream.content.trailers;
  }

  /** Whether the response is complete. */
  get complete(): boolean {
    return this.#ended && this.stream.sendEnded && this.failure === null;
  }

  readBody(): Uint8Array | Promise<Uint8Array> {
    this.#live();
    return this.#hasNoContent ? NONE : this.stream.content.read();
  }

  allowSilence(): void {
    this.stream.content.timeout = this.stream.content.minRate = 0;
  }

  limitBody(bytes: number): void {
    if (!this.#tunnelAsked) this.stream.content.limit = bytes;
  }

  writeInformational(head: ResponseHead): void {
    this.#live();
    if (this.responded) return;
    if (!head.informational) {
      throw new ProxyError("internal_error", `Response head: ${head.status} is not informational`);
    }
    this.stream.sendResponse(head, -1, false);
  }

  writeHead(head: ResponseHead, framing: Framing): void {
    this.#live();
    const { status } = head;
    if (this.responded) throw new ProxyError("internal_error", "Response head: written twice");
    if (status < 200 && (status !== 101 || this.upgrade === "")) {
      throw new ProxyError("internal_error", `Response head: ${status} cannot be the final one`);
    }
    if (this.#opensTunnel(status)) {
      // RFC 8441 §4: a 200 is to extended CONNECT what 101 is to Upgrade.
      const opening = status === 101 ? new ResponseHead(200, head.fields) : head;
      this.stream.sendResponse(opening, -1, false);
      this.status = opening.status;
      return;
    }
    if (this.upgrade !== "" && status < 300) {
      throw new ProxyError("upgrade_failed", `Response head: ${status} instead of a tunnel`, {
        source: "upstream",
      });
    }
    this.#noContent = hasNoContent(this.head.method, status);
    const length = framing.kind === "length" ? framing.length : framing.kind === "none" ? 0 : -1;
    // RFC 9110 §8.6: to HEAD and in a 304 it tells what a GET would have got; elsewhere it may not be.
    const told = !this.#noContent
      ? length
      : framing.kind === "length" && status !== 204 && status >= 200
      ? length
      : -1;
    const ends = this.#noContent || length === 0;
    this.#left = this.#noContent ? -1 : length;
    this.#ended = ends;
    this.stream.sendResponse(head, told, ends);
    this.status = status;
  }

  writeBody(bytes: Uint8Array, end: boolean): void | Promise<void> {
    this.#forContent();
    if (this.#noContent) return;
    if (this.#left >= 0) {
      if (bytes.length > this.#left) {
        throw new ProxyError("internal_error", "Content: more than Content-Length announced");
      }
      if (end && bytes.length < this.#left) {
        throw new ProxyError("internal_error", "Content: less than Content-Length announced");
      }
      // Trailers may follow the last byte.
      this.#left -= bytes.length;
    }
    if (this.#ended) return;
    if (end) this.#ended = true;
    return this.stream.send(bytes, end);
  }

  endBody(trailers: Fields | null): void | Promise<void> {
    this.#forContent();
    if (trailers !== null && !this.#ended && this.#left <= 0) {
      dropForbiddenTrailers(trailers);
      if (trailers.size > 0) {
        this.#ended = true;
        this.stream.sendTrailers(trailers);
        return;
      }
    }
    return this.writeBody(NONE, true);
  }

  flush(): void | Promise<void> {
    this.#live();
    return this.stream.settle();
  }

  startTunnel(): void {
    this.#live();
    if (!this.#tunnelAsked || !this.responded || this.status >= 300 || this.#tunnel) {
      throw new ProxyError("internal_error", "Tunnel: no response that opens one was written");
    }
    this.#tunnel = true;
    const { content } = this.stream;
    content.limit = content.timeout = content.minRate = 0;
  }

  closeTunnelWrite(): void {
    if (this.#over || !this.#tunnel || this.#ended || this.failure !== null) return;
    this.#ended = true;
    const waiting = this.stream.settle();
    if (waiting === undefined) this.stream.send(NONE, true);
    else waiting.then(() => this.stream.send(NONE, true)).catch(nothing);
  }

  abort(error: ProxyError): void {
    if (this.#over) return;
    // A tunnel whose other direction has ended still waits for the client.
    if (this.complete && (!this.#tunnel || this.stream.content.done)) return;
    this.onFailure = null;
    this.failure ??= error;
    this.stream.reset(error.source === "internal" ? INTERNAL_ERROR : CANCEL, error);
  }

  /** Cuts it from our side. Unlike `abort`, which is for who serves it, this tells who serves it. */
  cut(error: ProxyError): void {
    if (this.#over) return;
    this.#fail(error);
    this.stream.reset(INTERNAL_ERROR, error);
  }

  // What the stream calls.

  onHeaders(block: FieldBlock, endStream: boolean): void {
    this.stream.receivedEnd(readTrailers(block, this.stream.id, endStream));
  }

  onReset(code: number): ProxyError {
    const name = ERROR_CODE_NAMES[code] ?? `code ${code}`;
    const error = new ProxyError("client_closed", `Request: reset by the client (${name})`, {
      source: "downstream",
    });
    this.#fail(error);
    return error;
  }

  onError(error: ProxyError): void {
    this.#fail(error);
  }

  /** The exchange is over: nothing may be read or written any more. */
  detach(): void {
    if (this.#over) return;
    this.#over = true;
    this.onFailure = null;
    this.stream.content.trailers?.release();
    this.head.release();
    giveBuffer(this.#headBytes);
  }

  #fail(error: ProxyError): void {
    if (this.failure !== null || this.#over) return;
    const wasComplete = this.complete;
    this.failure = error.from("downstream");
    const handler = this.onFailure;
    this.onFailure = null;
    if (!wasComplete) handler?.(error);
  }

  /** Until the tunnel begins, what comes on the stream is nobody's: it may not reach the upstream before that. */
  get #hasNoContent(): boolean {
    return this.#tunnelAsked && !this.#tunnel;
  }

  #opensTunnel(status: number): boolean {
    return status === 101 || (this.head.method === "CONNECT" && status < 300);
  }

  #live(): void {
    if (this.failure !== null) throw this.failure;
    if (this.#over) throw new ProxyError("internal_error", "Session: used after its end");
  }

  #forContent(): void {
    this.#live();
    if (!this.responded) throw new ProxyError("internal_error", "Content: written before its head");
    if (this.#tunnel && this.#ended) {
      throw new ProxyError("internal_error", "Tunnel: written after its end");
    }
  }
}

const NONE = new Uint8Array(0);

function nothing(): void {}
