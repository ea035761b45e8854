/**
 * One request of an HTTP/1 client and the response to it.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import type { Fields } from "../http/fields.ts";
import { hasNoContent, type RequestHead, type ResponseHead } from "../http/message.ts";
import type { ConnectionFacts, DownstreamSession, Framing } from "../http/session.ts";
import type { BodyReader } from "./body_reader.ts";
import type { BodyWriter } from "./body_writer.ts";
import { type ConnectionOption, type ResponseFraming, writeResponseHead } from "./head_writer.ts";
import type { InputBuffer } from "./input_buffer.ts";
import type { DownstreamLimits } from "../http/limits.ts";
import type { Output } from "./output.ts";
import type { Request } from "./request_rules.ts";

/** What a session needs of its connection. */
export interface DownstreamHost {
  readonly facts: ConnectionFacts;
  readonly listener: string;
  readonly limits: DownstreamLimits;
  readonly input: InputBuffer;
  readonly output: Output;
  readonly reader: BodyReader;
  readonly writer: BodyWriter;
  /** Whether it will carry another request, as far as the connection itself goes. */
  readonly reusable: boolean;
  /** Asks for bytes for the session, within the time that content has unless it is `patient`. */
  wantBytes(patient: boolean): void;
  /** The content is complete: from here on bytes are a sign of life, or the next request. */
  contentEnded(): void;
  /** Closes at once, so that the client sees that something is missing. */
  cut(error: ProxyError): void;
  /** Ends our direction. */
  closeWrite(): void;
  /** The last response is complete: lets the client go, if it waits for nothing else. */
  lastEnded(): void;
}

/** Implements {@linkcode DownstreamSession} over the parts of its connection. */
export class Http1DownstreamSession implements DownstreamSession {
  readonly head: RequestHead;
  readonly startedAt: number;
  readonly requestNumber: number;
  readonly contentLength: number;
  readonly upgrade: string;
  readonly acceptsTrailers: boolean;
  readonly expectsContinue: boolean;
  onFailure: ((error: ProxyError) => void) | null = null;
  servedBy: object | null = null;
  status = 0;
  failure: ProxyError | null = null;
  #host: DownstreamHost | null;
  readonly #facts: ConnectionFacts;
  readonly #listener: string;
  #keepAlive: boolean;
  #continued = false;
  /** Whether a tunnel may follow the response. */
  #switches = false;
  #tunnel = false;
  /** Whether what the client sends may pause for as long as it likes. */
  #patient = false;
  #writeEnded = false;
  #bodyError: ProxyError | null = null;
  #waiting = false;
  #resolve: (piece: Uint8Array) => void = nothing;
  #reject: (error: unknown) => void = nothing;
  // What is asked for after the connection has gone on to the next request.
  #bodyBytes = 0;
  #bodyDone = false;
  #bytesSent = 0;

  constructor(host: DownstreamHost, request: Request, requestNumber: number) {
    this.#host = host;
    this.#facts = host.facts;
    this.#listener = host.listener;
    this.head = request.head;
    this.contentLength = request.contentLength;
    this.upgrade = request.upgrade;
    this.acceptsTrailers = request.acceptsTrailers;
    this.expectsContinue = request.expectsContinue;
    this.#keepAlive = request.persistent;
    this.requestNumber = requestNumber;
    this.startedAt = systemClock.now();
  }

  get connection(): ConnectionFacts {
    return this.#facts;
  }

  get listener(): string {
    return this.#listener;
  }

  get responded(): boolean {
    return this.status !== 0;
  }

  get keepAlive(): boolean {
    return this.#keepAlive;
  }

  set keepAlive(keep: boolean) {
    if (!keep) this.#keepAlive = false;
  }

  get bytesSent(): number {
    return this.#host === null ? this.#bytesSent : this.responded ? this.#host.writer.bytes : 0;
  }

  get bodyBytes(): number {
    return this.#host === null ? this.#bodyBytes : this.#host.reader.bytes;
  }

  get bodyDone(): boolean {
    return this.#host === null ? this.#bodyDone : this.#host.reader.done;
  }

  get trailers(): Fields | null {
    return this.#host === null ? null : this.#host.reader.trailers;
  }

  /** Whether the response is complete. */
  get complete(): boolean {
    if (this.#host === null) return true;
    return this.responded && (this.#tunnel ? this.#writeEnded : this.#host.writer.done);
  }

  /** Whether bytes are the tunnel's. */
  get isTunnel(): boolean {
    return this.#tunnel;
  }

  /** Whether there is no limit on how slowly bytes may come. */
  get patient(): boolean {
    return this.#patient;
  }

  /** Whether somebody waits in `readBody`. */
  get waiting(): boolean {
    return this.#waiting;
  }

  readBody(): Uint8Array | Promise<Uint8Array> {
    const host = this.#live();
    if (this.#bodyError !== null) throw this.#bodyError;
    if (host.reader.done) return NONE;
    host.input.dropView();
    const piece = this.#next(host);
    if (piece !== null) return piece;
    if (this.#waiting) {
      throw new ProxyError("internal_error", "Request content: read twice at a time");
    }
    this.#waiting = true;
    host.wantBytes(this.#patient);
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  allowSilence(): void {
    this.#patient = true;
  }

  limitBody(bytes: number): void {
    if (this.#host !== null && !this.#tunnel) this.#host.reader.limit = bytes;
  }

  writeInformational(head: ResponseHead): void {
    const host = this.#live();
    if (this.responded || this.head.version === 10) return;
    if (!head.informational) {
      throw new ProxyError("internal_error", `Response head: ${head.status} is not informational`);
    }
    if (head.status === 100) this.#continued = true;
    writeResponseHead(host.output, head, "none", "");
    host.output.flush();
  }

  writeHead(head: ResponseHead, framing: Framing): void {
    const host = this.#live();
    const { status } = head;
    const isConnect = this.head.method === "CONNECT";
    if (this.responded) throw new ProxyError("internal_error", "Response head: written twice");
    if (status < 200 && (status !== 101 || this.upgrade === "")) {
      throw new ProxyError("internal_error", `Response head: ${status} cannot be the final one`);
    }
    const switches = status === 101 || (isConnect && status < 300);
    this.#switches = switches;
    if (switches || !this.#mayKeep(host)) this.#keepAlive = false;
    let written: ResponseFraming = "none";
    const isEmpty = hasNoContent(this.head.method, status);
    const length = framing.kind === "length" ? framing.length : 0;
    if (isEmpty) {
      // RFC 9110 §8.6: to HEAD and in a 304 it tells what a GET would have got; elsewhere it may not be.
      const mayTell = (this.head.method === "HEAD" || status === 304) && status >= 200 &&
        status !== 204;
      if (mayTell && framing.kind === "length") written = length;
    } else if (framing.kind !== "stream") {
      written = length;
    } else if (this.head.version === 10) {
      this.#keepAlive = false;
    } else {
      written = "chunked";
    }
    const connection: ConnectionOption = switches
      ? ""
      : !this.#keepAlive
      ? "close"
      : this.head.version === 10
      ? "keep-alive"
      : "";
    writeResponseHead(host.output, head, written, connection);
    this.status = status;
    if (isEmpty) host.writer.begin("none", 0);
    else if (written === "chunked") host.writer.begin("chunked", 0);
    else if (written === "none") host.writer.begin("close", 0);
    else host.writer.begin("length", length);
  }

  writeBody(bytes: Uint8Array, end: boolean): void | Promise<void> {
    const host = this.#forContent();
    const last = this.#isLast;
    const written = host.writer.write(bytes, end, last);
    if (last && host.writer.done) host.lastEnded();
    return written;
  }

  endBody(trailers: Fields | null): void | Promise<void> {
    const host = this.#forContent();
    const last = this.#isLast;
    const written = host.writer.end(this.acceptsTrailers ? trailers : null, last);
    if (last) host.lastEnded();
    return written;
  }

  flush(): void | Promise<void> {
    const { output } = this.#live();
    output.flush();
    return output.settle();
  }

  startTunnel(): void {
    const host = this.#live();
    const isOpen = this.status === 101 || (this.head.method === "CONNECT" && this.status < 300);
    if (!isOpen || !this.responded || this.#tunnel) {
      throw new ProxyError("internal_error", "Tunnel: no response that opens one was written");
    }
    if (!host.reader.done) {
      throw new ProxyError("internal_error", "Tunnel: the content of the request was not read");
    }
    this.#tunnel = this.#patient = true;
    this.#keepAlive = false;
    host.output.flush();
    host.input.dropView();
    host.reader.beginTunnel();
    host.writer.begin("close", 0);
    host.contentEnded();
  }

  closeTunnelWrite(): void {
    if (this.#host === null || !this.#tunnel || this.#writeEnded) return;
    this.#writeEnded = true;
    this.#host.output.flush();
    this.#host.closeWrite();
  }

  abort(error: ProxyError): void {
    if (this.#host === null) return;
    // A tunnel whose other direction has ended still waits for the client.
    if (this.complete && (!this.#tunnel || this.#host.reader.done)) return;
    this.onFailure = null;
    this.#host.cut(error);
  }

  /** More bytes came, or the other side ended: serves who waits in `readBody`. */
  onBytes(): void {
    const host = this.#host;
    if (host === null || !this.#waiting) return;
    let piece: Uint8Array | null;
    try {
      piece = this.#next(host);
    } catch (error) {
      this.#waiting = false;
      this.#reject(error);
      return;
    }
    if (piece === null) {
      host.wantBytes(this.#patient);
      return;
    }
    this.#waiting = false;
    this.#resolve(piece);
  }

  /** The client sends no more: ends its direction of a tunnel. */
  onTunnelEnd(): void {
    this.#host?.reader.end();
    this.onBytes();
  }

  /** Reading the content failed, though the response may still be sent. */
  failBody(error: ProxyError): void {
    this.#bodyError ??= error;
    this.#keepAlive = false;
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#reject(error);
  }

  /** The client's side is gone. */
  fail(error: ProxyError): void {
    if (this.failure !== null || this.#host === null) return;
    const wasComplete = this.complete;
    this.failure = error;
    this.#host.output.fail(error);
    this.failBody(error);
    const handler = this.onFailure;
    this.onFailure = null;
    if (!wasComplete) handler?.(error);
  }

  /** The exchange is over: lets go of the connection. */
  detach(): void {
    const host = this.#host;
    if (host === null) return;
    this.#bytesSent = this.bytesSent;
    this.#bodyBytes = host.reader.bytes;
    this.#bodyDone = host.reader.done;
    host.reader.trailers?.release();
    host.reader.trailers = null;
    // An error costs its stack trace: not one per request.
    if (this.#waiting) {
      this.failBody(new ProxyError("internal_error", "Request content: read after the exchange"));
    }
    this.#host = null;
    this.onFailure = null;
    this.head.release();
  }

  #next(host: DownstreamHost): Uint8Array | null {
    try {
      const piece = host.reader.next(host.input);
      if (host.reader.done && !this.#tunnel) host.contentEnded();
      return piece;
    } catch (error) {
      const wrapped = ProxyError.wrap(error, "internal_error", "Request content", "downstream");
      this.#bodyError ??= wrapped;
      this.#keepAlive = false;
      throw wrapped;
    }
  }

  /** Whether the connection ends with this response. */
  get #isLast(): boolean {
    return !this.#keepAlive && !this.#switches;
  }

  /** Whether the connection can go on after this response, seen from here. */
  #mayKeep(host: DownstreamHost): boolean {
    if (!this.#keepAlive || !host.reusable) return false;
    const { reader } = host;
    if (reader.done) return true;
    // A client that was not told to continue may send its content or not; nobody could tell what follows.
    if (this.expectsContinue && !this.#continued && reader.bytes === 0) return false;
    return reader.announced <= host.limits.drainBytes;
  }

  #live(): DownstreamHost {
    if (this.failure !== null) throw this.failure;
    if (this.#host === null) throw new ProxyError("internal_error", "Session: used after its end");
    return this.#host;
  }

  #forContent(): DownstreamHost {
    const host = this.#live();
    if (!this.responded) throw new ProxyError("internal_error", "Content: written before its head");
    if (this.#writeEnded) throw new ProxyError("internal_error", "Tunnel: written after its end");
    return host;
  }
}

const NONE = new Uint8Array(0);

function nothing(): void {}
