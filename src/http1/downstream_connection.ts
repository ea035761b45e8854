/**
 * The HTTP/1 connection of a client: one request after the other, in order.
 *
 * ```text
 *   FRESH ──first byte──▶ HEAD ──head──▶ SERVING ──over──▶ FLUSHING ──▶ DRAINING ──▶ IDLE ──▶ HEAD …
 *                          └─ bad head: refuse ─┐  └─ last one ─┐
 *                                               └───────────────┴──▶ FLUSHING ──▶ LINGERING ──▶ CLOSED
 *                                                                        └─ parting ─────────────▲
 * ```
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { ConnectionFacts } from "../http/session.ts";
import type { Socket, SocketHandler } from "../transport/socket.ts";
import { BodyReader } from "./body_reader.ts";
import { BodyWriter } from "./body_writer.ts";
import { BODY_BUFFER, NO_BUFFER, SMALL_BUFFER } from "../base/buffer_pool.ts";
import * as errors from "./downstream_errors.ts";
import { type DownstreamHost, Http1DownstreamSession } from "./downstream_session.ts";
import { writeResponseHead } from "./head_writer.ts";
import { InputBuffer } from "./input_buffer.ts";
import type { DownstreamConnection, DownstreamOwner } from "../http/downstream.ts";
import type { DownstreamLimits } from "../http/limits.ts";
import { Output, type OutputOwner } from "./output.ts";
import { RequestHeadReader } from "./request_head_reader.ts";
import type { Http1ServerOptions } from "./server_options.ts";

const FRESH = 0;
const IDLE = 1;
const HEAD = 2;
const SERVING = 3;
const FLUSHING = 4;
const DRAINING = 5;
const LINGERING = 6;
const CLOSED = 7;

/** Steps that may fail, for `#guard`. Functions would have to be made for each connection. */
const RECEIVED = 0;
const ENDED = 1;
const FLUSHED = 2;
const EXCHANGE_OVER = 3;
const HEAD_IS_LATE = 4;

/** How long a client gets to read the last answer and to close, in milliseconds. */
const LINGER_TIME = 2_000;
/** After how long a client that was to send nothing more is looked after, where looking costs something; milliseconds. */
const WATCH_DELAY = 50;

/** A client's connection. */
export class Http1DownstreamConnection
  implements DownstreamConnection, SocketHandler, DownstreamHost, OutputOwner {
  readonly facts: ConnectionFacts;
  readonly limits: DownstreamLimits;
  readonly input: InputBuffer = new InputBuffer();
  readonly output: Output;
  readonly reader: BodyReader;
  readonly writer: BodyWriter;
  readonly #socket: Socket;
  readonly #options: Http1ServerOptions;
  readonly #owner: DownstreamOwner;
  readonly #heads: RequestHeadReader;
  readonly #deadline: Deadline = new Deadline(() => this.#onDeadline());
  readonly #exchangeOver: () => void = () => this.#guard(EXCHANGE_OVER);
  readonly #exchangeBroke: (error: unknown) => void = (error) => this.#broke(error);
  #session: Http1DownstreamSession | null = null;
  #state = FRESH;
  #requests = 0;
  #reading = false;
  #deadlineIsHead = false;
  /** Whether the deadline counts. It is left in the wheel when not: moving it later is cheaper than taking it out. */
  #timed = false;
  #disposed = false;
  #pumping = false;
  #eof = false;
  #draining = false;
  /** Whether a drain closes what is idle, though its last response promised that another request may come. */
  #hurries = false;
  #last = false;
  /** Whether the client said with a whole request that it sends nothing after it (RFC 9112 §9.6). */
  #parting = false;
  #drained = 0;
  #waitedFor = 0;
  #waitingSince = 0;

  constructor(
    socket: Socket,
    facts: ConnectionFacts,
    options: Http1ServerOptions,
    owner: DownstreamOwner,
  ) {
    this.#socket = socket;
    this.facts = facts;
    this.limits = options.limits;
    this.#options = options;
    this.#owner = owner;
    this.#heads = new RequestHeadReader(options.limits);
    this.output = new Output(socket, this);
    this.reader = new BodyReader(options.chunkLimits, "invalid_request", "head_too_large", false);
    this.writer = new BodyWriter(this.output);
    socket.handler = this;
  }

  get idle(): boolean {
    return (this.#state === FRESH || this.#state === IDLE) && this.input.size === 0;
  }

  get listener(): string {
    return this.#options.listener;
  }

  get reusable(): boolean {
    const most = this.limits.requestsPerConnection;
    return !this.#draining && !this.#eof && (most === 0 || this.#requests < most);
  }

  start(received: Uint8Array = NO_BUFFER): void {
    this.#arm(this.limits.headerTimeout);
    if (received.length === 0) return this.#ask();
    this.input.window(received.length).set(received);
    this.onRead(received.length);
  }

  /** Closes when idle, else after the response being made, which says so if its head is not yet written. */
  drain(gently: boolean = false): void {
    this.#draining = true;
    this.#hurries = !gently;
    if (this.idle && !gently) this.#close();
  }

  destroy(): void {
    this.cut(errors.closedByUs());
  }

  cutServedBy(owner: object, error: ProxyError): number {
    if (this.#state === CLOSED || this.#session?.servedBy !== owner) return 0;
    this.cut(error);
    return 1;
  }

  // What the socket calls.

  readBuffer(): Uint8Array {
    const { reader } = this;
    if (this.streaming) return this.input.window(reader.bufferSize, reader.most);
    return this.input.window(this.#state === LINGERING ? BODY_BUFFER : SMALL_BUFFER);
  }

  get streaming(): boolean {
    return (this.#state === SERVING || this.#state === DRAINING) && !this.reader.done;
  }

  onRead(length: number): void {
    this.#reading = false;
    this.input.commit(length);
    this.#guard(length === 0 ? ENDED : RECEIVED);
  }

  onDrain(): void {
    this.output.onDrain();
    if (this.#state === FLUSHING) this.#guard(FLUSHED);
  }

  onError(error: ProxyError): void {
    this.cut(errors.brokenByClient(error));
  }

  // What the output asks and calls.

  get wheel(): TimerWheel {
    return this.#options.wheel;
  }

  get writeTimeout(): number {
    return this.limits.writeTimeout;
  }

  get minSendRate(): number {
    return this.limits.minSendRate;
  }

  onWriteTimeout(): void {
    this.cut(errors.writeTimeout());
  }

  // What the session calls.

  wantBytes(patient: boolean): void {
    if (patient) {
      this.#disarm();
    } else {
      this.#arm(this.limits.bodyTimeout);
      this.#waitingSince = this.#options.wheel.now;
    }
    if (!this.#eof) {
      this.#ask();
      return;
    }
    // The end was read before the tunnel began. The waiter is not in place yet.
    const session = this.#session;
    queueMicrotask(() => session?.onTunnelEnd());
  }

  contentEnded(): void {
    this.#disarm();
    // Asked for only when `serve` goes on for longer than this turn: see #serve.
    if (!this.#pumping) this.#watch();
  }

  closeWrite(): void {
    this.#socket.closeWrite();
  }

  /** What is left to be done for the request needs no connection; and what the client does next is the kernel's business. */
  lastEnded(): void {
    if (this.#parts && !this.output.waiting) this.#socket.close();
  }

  cut(error: ProxyError): void {
    if (this.#state === CLOSED) return;
    this.#socket.destroy();
    this.#close();
    const session = this.#session;
    if (session === null) return;
    try {
      session.fail(error);
    } catch (bug) {
      reportError(bug);
    }
  }

  // Receiving.

  #ask(): void {
    if (this.#reading || this.#eof || this.#state === CLOSED) return;
    this.#reading = true;
    this.#socket.read();
  }

  /** While a request is served: keeps reading, to see the client go, as long as little is pipelined. */
  #watch(): void {
    if (this.input.size >= SMALL_BUFFER) return;
    // Most are answered before it is time to look.
    if (this.#parting && this.#socket.readsAhead !== true) this.#arm(WATCH_DELAY);
    else this.#ask();
  }

  #onBytes(): void {
    switch (this.#state) {
      case FRESH:
      case IDLE:
      case HEAD:
        this.#pump();
        break;
      case SERVING: {
        const session = this.#session!;
        if (!session.waiting) {
          if (this.reader.done) this.#watch();
          break;
        }
        if (!session.patient && !this.#isFastEnough()) {
          session.failBody(errors.bodyTimeout("came too slowly"));
          break;
        }
        session.onBytes();
        break;
      }
      case DRAINING:
        this.#drainContent();
        break;
      case LINGERING:
        this.input.clear();
        this.#ask();
        break;
    }
  }

  #onEnd(): void {
    this.#eof = true;
    const session = this.#session;
    switch (this.#state) {
      case SERVING:
        if (session!.isTunnel) {
          session!.onTunnelEnd();
        } else if (!this.reader.done || this.#options.abortOnClose) {
          this.cut(errors.closedByClient());
        } else {
          session!.keepAlive = false;
        }
        break;
      case FLUSHING:
        break;
      default:
        this.#close();
    }
  }

  /** Takes requests out of what was received, until bytes are missing or one takes its time. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#state <= HEAD) {
        if (this.input.size === 0 && this.#state !== HEAD) {
          if (this.#hurries || this.#eof) this.#close();
          else this.#ask();
          return;
        }
        const session = this.#readHead();
        if (session !== null) {
          this.#serve(session);
        } else if (this.#state <= HEAD) {
          if (this.#eof) this.#close();
          else this.#ask();
          return;
        }
      }
    } finally {
      this.#pumping = false;
    }
    if (this.#state === SERVING && this.reader.done) this.#watch();
  }

  /** The next session; `null` if bytes are missing, or if the head was refused. */
  #readHead(): Http1DownstreamSession | null {
    if (this.#state !== HEAD) {
      this.#state = HEAD;
      this.#heads.reset();
    }
    try {
      const request = this.#heads.read(this.input);
      if (request === null) return this.#awaitHead();
      if (request.head.method === "CONNECT" && !this.#options.allowConnect) {
        request.head.release();
        throw new ProxyError("method_not_allowed", "Request: CONNECT is not allowed here");
      }
      this.#requests++;
      this.#disarm();
      const { contentLength } = request;
      this.#parting = !request.persistent && contentLength === 0 && this.facts.tls === null;
      this.reader.begin(
        contentLength < 0 ? "chunked" : "length",
        contentLength,
        this.limits.bodyBytes,
      );
      this.#waitedFor = 0;
      this.#drained = 0;
      return new Http1DownstreamSession(this, request, this.#requests);
    } catch (error) {
      this.#refuse(ProxyError.wrap(error, "internal_error", "Request head", "downstream"));
      return null;
    }
  }

  /** A head that is here with its first byte needs no deadline; most are. */
  #awaitHead(): null {
    if (!this.#deadlineIsHead) {
      this.#deadlineIsHead = true;
      this.#arm(this.limits.headerTimeout);
    }
    return null;
  }

  // Serving.

  #serve(session: Http1DownstreamSession): void {
    this.#state = SERVING;
    this.#session = session;
    let served: void | Promise<void>;
    try {
      served = this.#options.serve(session);
    } catch (error) {
      this.#broke(error);
      return;
    }
    if (served === undefined) this.#over();
    else served.then(this.#exchangeOver, this.#exchangeBroke);
  }

  /** A bug in `serve`: it may not take more down than this connection. Passing on our own failure is none. */
  #broke(error: unknown): void {
    const failure = this.#session?.failure ?? null;
    if (failure === null || error !== failure) reportError(error);
    this.cut(ProxyError.wrap(error, "internal_error", "Serving a request", "internal"));
    this.#over();
  }

  #overAndNext(): void {
    this.#over();
    if (this.#state <= HEAD) this.#pump();
  }

  #over(): void {
    const session = this.#session;
    if (session === null) return;
    if (this.#state === CLOSED) {
      this.#session = null;
      session.detach();
      this.#dispose();
      return;
    }
    const { responded, complete, isTunnel, keepAlive } = session;
    const isHead = session.head.method === "HEAD";
    this.#session = null;
    session.detach();
    if (responded && !complete) {
      // An announced end that does not come is how the client learns that something is missing.
      this.cut(new ProxyError("internal_error", "Response: not complete", { source: "internal" }));
      return;
    }
    if (!responded) {
      this.#refuse(new ProxyError("internal_error", "Request: served without a response"), isHead);
      return;
    }
    this.output.flush();
    // Whether more may come was settled, and said, when the head was written.
    this.#last = isTunnel || !keepAlive || this.#hurries || this.#eof;
    if (isTunnel) this.#parting = false;
    this.#disarm();
    this.#state = FLUSHING;
    if (!this.output.waiting) this.#afterFlush();
  }

  /** Whether a client that has its last answer need not be waited for. */
  get #parts(): boolean {
    // Nothing is in the kernel either, as far as anybody can tell: the last read did not fill its buffer.
    return this.#parting && this.input.size === 0 && !this.input.full;
  }

  #afterFlush(): void {
    if (this.#last) {
      if (this.#parts) this.#close();
      else this.#linger();
      return;
    }
    if (this.reader.done) {
      this.#goIdle();
      return;
    }
    this.#state = DRAINING;
    this.input.dropView();
    this.#arm(this.limits.drainTimeout);
    this.#drainContent();
  }

  /** Reads over content that nobody wanted: the next request must not begin inside it (CVE-2025-4366). */
  #drainContent(): void {
    const { reader, input } = this;
    reader.limit = 0;
    try {
      for (;;) {
        input.dropView();
        const piece = reader.next(input);
        if (piece === null) break;
        this.#drained += piece.length;
        if (this.#drained > this.limits.drainBytes) return this.#linger();
        if (reader.done) {
          reader.trailers?.release();
          return this.#goIdle();
        }
      }
    } catch {
      return this.#linger();
    }
    this.#ask();
  }

  #goIdle(): void {
    this.#state = IDLE;
    this.#deadlineIsHead = false;
    this.input.releaseHeld(this.#socket.readsAhead !== true);
    if (this.input.size === 0) {
      if (this.#hurries || this.#eof) return this.#close();
      this.#arm(this.limits.keepAliveTimeout);
      this.#ask();
    } else {
      this.#pump();
    }
  }

  /** Answers what could not be read as a request. Where it ended is unknown, so the connection ends, too. */
  #refuse(error: ProxyError, isHead: boolean = false): void {
    this.#disarm();
    if (error.status === 0) return this.cut(error);
    const { head, body } = this.#options.refuse(error, this.facts);
    writeResponseHead(this.output, head, body.length, "close");
    this.writer.begin("length", body.length);
    if (body.length > 0 && !isHead) this.writer.write(body, true);
    this.output.flush();
    this.#last = true;
    this.#state = FLUSHING;
    if (!this.output.waiting) this.#linger();
  }

  /**
   * Ends our direction and reads on for a short time. Closing with bytes unread, or to come, would make the kernel send
   * a reset, which can take the answer from the client's hands (RFC 9112 §9.6).
   */
  #linger(): void {
    if (this.#eof) return this.#close();
    this.#state = LINGERING;
    this.#socket.closeWrite();
    this.input.clear();
    this.input.releaseHeld();
    this.#arm(LINGER_TIME);
    this.#ask();
  }

  // Ending.

  #close(): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    this.#options.wheel.cancel(this.#deadline);
    if (!this.#socket.closed) this.#socket.close();
    if (this.#session === null) this.#dispose();
  }

  #dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.input.dispose();
    this.output.dispose();
    this.#owner.onClosed();
  }

  // Time.

  #arm(ms: number): void {
    this.#timed = true;
    this.#options.wheel.arm(this.#deadline, ms);
  }

  #disarm(): void {
    this.#timed = false;
  }

  #onDeadline(): void {
    if (!this.#timed) return;
    switch (this.#state) {
      case HEAD:
        this.#guard(HEAD_IS_LATE);
        break;
      case SERVING:
        if (this.reader.done) this.#ask();
        else if (this.#session!.waiting && !this.#session!.patient) {
          this.#session!.failBody(errors.bodyTimeout("did not come"));
        }
        break;
      case DRAINING:
        this.#linger();
        break;
      case LINGERING:
        this.#socket.destroy();
        this.#close();
        break;
      default:
        this.#close();
    }
  }

  /** Counts only the time spent waiting for the client, not that in which nobody asked it for bytes. */
  #isFastEnough(): boolean {
    const rate = this.limits.bodyMinRate;
    if (rate === 0) return true;
    this.#waitedFor += this.#options.wheel.now - this.#waitingSince;
    this.#waitingSince = this.#options.wheel.now;
    const counted = this.#waitedFor - this.limits.bodyTimeout;
    return counted <= 0 || (this.reader.bytes + this.input.size) * 1000 >= rate * counted;
  }

  /** A bug of ours may end this connection, but not the process. */
  #guard(step: number): void {
    try {
      switch (step) {
        case RECEIVED:
          this.#onBytes();
          break;
        case ENDED:
          this.#onEnd();
          break;
        case FLUSHED:
          this.#afterFlush();
          break;
        case EXCHANGE_OVER:
          this.#overAndNext();
          break;
        case HEAD_IS_LATE:
          this.#refuse(errors.headTimeout());
          break;
      }
    } catch (error) {
      reportError(error);
      this.cut(ProxyError.wrap(error, "internal_error", "Connection", "internal"));
    }
  }
}
