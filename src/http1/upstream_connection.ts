/**
 * An HTTP/1 connection to an upstream: one exchange after the other.
 *
 * Between two exchanges a read is outstanding. An end of the connection is so noticed at once, and a byte that
 * nobody asked for ends it: it would be taken for the next response (response queue poisoning).
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { ConnectionFacts, UpstreamSession } from "../http/session.ts";
import type { Socket, SocketHandler } from "../transport/socket.ts";
import { BodyReader } from "./body_reader.ts";
import { BodyWriter } from "./body_writer.ts";
import { SMALL_BUFFER } from "../base/buffer_pool.ts";
import { INCOMPLETE, type SectionRules } from "./field_section_parser.ts";
import { HeadScanner } from "./head_scanner.ts";
import { InputBuffer } from "./input_buffer.ts";
import type { UpstreamLimits } from "../http/limits.ts";
import type { ChunkLimits } from "./limits.ts";
import { Output, type OutputOwner } from "./output.ts";
import {
  parseResponseHead,
  readResponse,
  type Response,
  responseRules,
} from "./response_head_parser.ts";
import { type Awaited, Http1UpstreamSession, type UpstreamHost } from "./upstream_session.ts";

/** How long an upstream may take, in milliseconds. */
export interface UpstreamTimeouts {
  /** From the end of the request to the first byte of the response. */
  readonly firstByteTimeout: number;
  /** Between two pieces of the response. A tunnel has no such limit here. */
  readonly readTimeout: number;
  /** How long a write may wait for the upstream to read. */
  readonly writeTimeout: number;
}

/** What {@linkcode Http1UpstreamConnection} takes. */
export interface UpstreamConnectionOptions {
  readonly limits: UpstreamLimits;
  readonly chunkLimits: ChunkLimits;
  readonly wheel: TimerWheel;
  readonly timeouts: UpstreamTimeouts;
}

/** What a first read of a response goes into: large enough for most heads with a little content. */
const RESPONSE_BUFFER = 16 * 1024;

/** A connection to an upstream. */
export class Http1UpstreamConnection implements SocketHandler, UpstreamHost, OutputOwner {
  readonly socket: Socket;
  readonly facts: ConnectionFacts;
  readonly limits: UpstreamLimits;
  readonly input: InputBuffer = new InputBuffer();
  readonly output: Output;
  readonly reader: BodyReader;
  readonly writer: BodyWriter;
  /** Called when an exchange was released and the connection can carry another. */
  onIdle: (() => void) | null = null;
  /** Called once when it can no longer be used. */
  onClosed: (() => void) | null = null;
  /** Why no more bytes will come, or `null`. */
  ended: ProxyError | null = null;
  /** Whether the connection broke, instead of being finished by the upstream. */
  broken = false;
  readonly #options: UpstreamConnectionOptions;
  readonly #rules: SectionRules;
  readonly #scanner: HeadScanner = new HeadScanner();
  readonly #deadline: Deadline = new Deadline(() => this.#onDeadline());
  #session: Http1UpstreamSession | null = null;
  #requests = 0;
  #attempted = false;
  #reading = false;
  #timed = false;
  #closed = false;
  /** Whether an exchange is over but for the word that all of its request is with the kernel. */
  #resting = false;

  constructor(socket: Socket, facts: ConnectionFacts, options: UpstreamConnectionOptions) {
    this.socket = socket;
    this.facts = facts;
    this.limits = options.limits;
    this.#options = options;
    this.#rules = responseRules(options.limits);
    this.output = new Output(socket, this);
    this.reader = new BodyReader(
      options.chunkLimits,
      "invalid_response",
      "response_head_too_large",
      true,
    );
    this.writer = new BodyWriter(this.output);
    socket.handler = this;
  }

  get wheel(): TimerWheel {
    return this.#options.wheel;
  }

  get writeTimeout(): number {
    return this.#options.timeouts.writeTimeout;
  }

  get minSendRate(): number {
    return 0;
  }

  /** Exchanges begun. */
  get requests(): number {
    return this.#requests;
  }

  /** Whether an exchange is going on. */
  get busy(): boolean {
    return this.#session !== null;
  }

  /** Whether it can no longer be used. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Starts an exchange. Only when not busy and not closed.
   *
   * @param method The request method; what the head says later counts.
   * @throws {Error} If it is busy.
   * @throws {ProxyError} `connection_closed`, to be tried again, if it is closed.
   */
  begin(method: string): UpstreamSession {
    if (this.#session !== null) throw new Error("Cannot begin an exchange: another one goes on");
    if (this.#closed) {
      throw new ProxyError("connection_closed", "Connection: closed before it was used", {
        source: "upstream",
        retry: true,
      });
    }
    this.#session = new Http1UpstreamSession(this, method, this.#requests > 0);
    this.#requests++;
    this.#resetHead();
    // The upstream may answer before it has the whole request: reading starts with writing.
    this.#ask();
    return this.#session;
  }

  /** Closes at once. */
  destroy(): void {
    this.#end(
      new ProxyError("socket_error", "Connection: closed by us", { source: "internal" }),
      true,
    );
  }

  // What the socket calls.

  readBuffer(arrived: number = 0): Uint8Array {
    const { input, reader } = this;
    if (this.#session === null) return input.window(SMALL_BUFFER);
    // Not bounded by what is announced: a byte too many is better seen now than by the next exchange.
    if (!reader.done) return input.window(reader.bufferSize);
    // Content that came with its head is used where it lies: in one piece with it, or it would be copied once more.
    if (arrived > 0) return input.window(Math.max(arrived, SMALL_BUFFER));
    return input.window(this.limits.headBytes < RESPONSE_BUFFER ? SMALL_BUFFER : RESPONSE_BUFFER);
  }

  get streaming(): boolean {
    return this.#session !== null && !this.reader.done;
  }

  onRead(length: number): void {
    this.#reading = false;
    this.input.commit(length);
    if (length === 0) {
      this.#end(
        new ProxyError("connection_closed", "Connection: closed by the upstream", {
          source: "upstream",
        }),
        false,
      );
      return;
    }
    const session = this.#session;
    if (session !== null && session.sent) {
      // While nobody waits one piece is kept, so that an early answer is seen; more is back-pressure.
      this.#guard(session);
      return;
    }
    // Bytes before a request are no answer to it.
    this.input.clear();
    this.#end(
      new ProxyError("connection_closed", "Connection: bytes that answer no request", {
        source: "upstream",
      }),
      true,
    );
  }

  onDrain(): void {
    this.output.onDrain();
    if (this.#resting && !this.#closed) this.#rest();
  }

  onError(error: ProxyError): void {
    this.#end(error.from("upstream"), true);
  }

  // What the session calls.

  parseHead(method: string): Response | null {
    const { input } = this;
    if (input.size === 0) return null;
    const end = this.#parse();
    if (end === INCOMPLETE) return null;
    const response = readResponse(input.bytes, method);
    input.start = end;
    input.holdHead();
    this.#resetHead();
    return response;
  }

  wantBytes(awaited: Awaited): void {
    this.retime(awaited);
    if (this.ended !== null) {
      const session = this.#session;
      queueMicrotask(() => session?.onBytes());
    } else this.#ask();
  }

  retime(awaited: Awaited): void {
    this.#timed = awaited !== "nothing";
    if (!this.#timed) return;
    const { timeouts, wheel } = this.#options;
    wheel.arm(
      this.#deadline,
      awaited === "first_byte" ? timeouts.firstByteTimeout : timeouts.readTimeout,
    );
  }

  closeWrite(): void {
    this.socket.closeWrite();
  }

  release(reusable: boolean): void {
    const { input, output } = this;
    this.#session = null;
    this.#timed = false;
    // Bytes behind a complete response belong to no request (RFC 9112 §9.2).
    if (!reusable || input.size > 0 || this.ended !== null || output.length > 0) {
      this.destroy();
      this.#dispose();
    } else if (output.waiting) {
      this.#resting = true;
    } else this.#rest();
  }

  /** Between two exchanges. */
  #rest(): void {
    this.#resting = false;
    this.input.releaseHeld();
    this.reader.begin("none", 0, 0);
    this.#ask();
    this.onIdle?.();
  }

  #ask(): void {
    if (this.#reading || this.ended !== null || this.#closed) return;
    this.#reading = true;
    this.socket.read();
  }

  #resetHead(): void {
    this.#attempted = false;
    this.#scanner.reset();
  }

  /** Parses the head; see {@linkcode HeadScanner} for when its verdict counts. */
  #parse(): number {
    const { bytes, start, end } = this.input;
    const limit = this.limits.headBytes;
    const until = Math.min(end, start + limit);
    if (!this.#attempted) {
      this.#attempted = true;
      let failure: unknown = null;
      try {
        const headEnd = parseResponseHead(bytes, start, until, this.#rules);
        if (headEnd !== INCOMPLETE) return headEnd;
      } catch (error) {
        failure = error;
      }
      // What does not begin like HTTP at all need not be waited for.
      if (failure !== null && bytes[start] !== 72) throw failure;
    }
    if (!this.#scanner.isDecided(bytes, start, end, limit)) return INCOMPLETE;
    const headEnd = parseResponseHead(bytes, start, until, this.#rules);
    if (headEnd !== INCOMPLETE) return headEnd;
    throw end - start >= limit
      ? new ProxyError("response_head_too_large", `Response head: more than ${limit} bytes`)
      : new ProxyError("invalid_response", "Response head: a line ends too early");
  }

  /** No more bytes will come. `broken`: nor can any be sent. */
  #end(error: ProxyError, broken: boolean): void {
    if (this.ended === null) {
      this.ended = error;
      this.broken = broken;
    }
    const session = this.#session;
    if (broken || session === null) {
      if (!this.socket.closed) this.socket.destroy();
      this.output.fail(
        new ProxyError("write_error", "Request: the connection is gone", {
          source: "upstream",
          retry: session !== null && !session.responseStarted ? "reused-only" : false,
          cause: error,
        }),
      );
      this.#markClosed();
    }
    if (session === null) this.#dispose();
    else this.#guard(session);
  }

  #markClosed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timed = false;
    this.#options.wheel.cancel(this.#deadline);
    this.onClosed?.();
  }

  /** Gives buffers back; only when no session looks into them. */
  #dispose(): void {
    this.input.dispose();
  }

  #onDeadline(): void {
    if (this.#timed) this.#session?.onTimeout();
  }

  onWriteTimeout(): void {
    const error = new ProxyError("write_timeout", "Request: the upstream does not read", {
      source: "upstream",
    });
    this.output.fail(error);
    this.#end(error, true);
  }

  /** A bug of ours may end this connection, but not the process. */
  #guard(session: Http1UpstreamSession): void {
    try {
      session.onBytes();
    } catch (error) {
      reportError(error);
      this.destroy();
    }
  }
}
