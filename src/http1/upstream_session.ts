/**
 * One request to an HTTP/1 upstream and its response.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { Fields } from "../http/fields.ts";
import type { RequestHead, ResponseHead, Version } from "../http/message.ts";
import type { ConnectionFacts, Framing, UpstreamSession } from "../http/session.ts";
import type { BodyReader } from "./body_reader.ts";
import type { BodyWriter } from "./body_writer.ts";
import { writeRequestHead } from "./head_writer.ts";
import type { InputBuffer } from "./input_buffer.ts";
import type { UpstreamLimits } from "../http/limits.ts";
import type { Output } from "./output.ts";
import type { Response } from "./response_head_parser.ts";

/** What a session is waiting for, which decides how long it may take. */
export type Awaited =
  /** The first byte of the response, while the request is still being sent, or more of a tunnel: as long as it takes. */
  | "nothing"
  | "first_byte"
  | "more";

/** What a session needs of its connection. */
export interface UpstreamHost {
  readonly facts: ConnectionFacts;
  readonly limits: UpstreamLimits;
  readonly input: InputBuffer;
  readonly output: Output;
  readonly reader: BodyReader;
  readonly writer: BodyWriter;
  /** Why no more bytes will come, or `null`. */
  readonly ended: ProxyError | null;
  /** Whether that is because the connection broke: the upstream has not said that it had finished. */
  readonly broken: boolean;
  /** Parses the next head out of the input; `null` if bytes are missing. */
  parseHead(method: string): Response | null;
  /** Asks for more bytes, within the time there is. */
  wantBytes(awaited: Awaited): void;
  /** Changes what the time counts for, if a read is waited for. */
  retime(awaited: Awaited): void;
  closeWrite(): void;
  /** The exchange is over. `reusable`: the session has no objection to another one. */
  release(reusable: boolean): void;
}

const HEAD = 0;
const BODY = 1;
const SWITCHED = 2;
const TUNNEL = 3;
const OVER = 4;

/** Implements {@linkcode UpstreamSession} over the parts of its connection. */
export class Http1UpstreamSession implements UpstreamSession {
  readonly connection: ConnectionFacts;
  readonly version: Version = 11;
  readonly reused: boolean;
  onFailure: ((error: ProxyError) => void) | null = null;
  /** Whether any byte of the response has arrived. */
  responseStarted = false;
  /** Bytes that the response head announces: to HEAD and in a 304 those that a GET would get. */
  contentLength = -1;
  readonly #host: UpstreamHost;
  #method: string;
  #state = HEAD;
  #sent = false;
  #offersUpgrade = false;
  #writeEnded = false;
  #persistent = true;
  #patient = false;
  #informational = 0;
  #error: ProxyError | null = null;
  #fields: Fields | null = null;
  #oldFields: Fields[] | null = null;
  #headWaiting = false;
  #bodyWaiting = false;
  // One of each serves both waits: a head and content are never waited for at a time.
  #resolve: (value: never) => void = nothing;
  #reject: (error: unknown) => void = nothing;
  #bodyBytes = 0;
  #bodyDone = false;

  constructor(host: UpstreamHost, method: string, reused: boolean) {
    this.#host = host;
    this.#method = method;
    this.reused = reused;
    this.connection = host.facts;
  }

  get bodyBytes(): number {
    return this.#isOver ? this.#bodyBytes : this.#state === HEAD ? 0 : this.#host.reader.bytes;
  }

  get bodyDone(): boolean {
    return this.#isOver ? this.#bodyDone : this.#state !== HEAD && this.#host.reader.done;
  }

  get trailers(): Fields | null {
    return this.#isOver || this.#state === HEAD ? null : this.#host.reader.trailers;
  }

  /** Whether somebody waits for a head or for content. */
  get waiting(): boolean {
    return this.#headWaiting || this.#bodyWaiting;
  }

  get #isOver(): boolean {
    return this.#state === OVER;
  }

  /** Whether the request head was written. */
  get sent(): boolean {
    return this.#sent;
  }

  writeHead(head: RequestHead, framing: Framing): void {
    const { output, writer } = this.#live();
    if (this.#sent) throw new ProxyError("internal_error", "Request head: written twice");
    if (output.failure !== null) throw output.failure;
    this.#method = head.method;
    // RFC 9110 §8.6: a request that could have content says that it has none; GET and the like need not.
    const saysNone = framing.kind === "none" &&
      (head.method === "POST" || head.method === "PUT" || head.method === "PATCH");
    this.#offersUpgrade = writeRequestHead(output, head, saysNone ? EMPTY : framing);
    this.#sent = true;
    if (framing.kind === "stream") writer.begin("chunked", 0);
    else writer.begin("length", framing.kind === "length" ? framing.length : 0);
  }

  writeBody(bytes: Uint8Array, end: boolean): void | Promise<void> {
    const { writer } = this.#forContent();
    const written = writer.write(bytes, end);
    this.#afterWrite();
    return written;
  }

  endBody(trailers: Fields | null): void | Promise<void> {
    const { writer } = this.#forContent();
    const written = writer.end(trailers);
    this.#afterWrite();
    return written;
  }

  flush(): void | Promise<void> {
    const { output } = this.#live();
    output.flush();
    return output.settle();
  }

  readHead(): ResponseHead | Promise<ResponseHead> {
    const host = this.#live();
    if (this.#error !== null) throw this.#error;
    if (this.#state !== HEAD || this.waiting) {
      throw new ProxyError("internal_error", "Response head: read at the wrong time");
    }
    const head = this.#nextHead(host);
    if (head !== null) return head;
    this.#headWaiting = true;
    host.wantBytes(this.#awaited());
    return new Promise<ResponseHead>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  readBody(): Uint8Array | Promise<Uint8Array> {
    const host = this.#live();
    if (this.#error !== null) throw this.#error;
    if (this.#state === HEAD || this.waiting) {
      throw new ProxyError("internal_error", "Response content: read at the wrong time");
    }
    if (host.reader.done) return NONE;
    host.input.dropView();
    const piece = this.#nextPiece(host);
    if (piece !== null) return piece;
    this.#bodyWaiting = true;
    host.wantBytes(this.#awaited());
    return new Promise<Uint8Array>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  allowSilence(): void {
    this.#patient = true;
  }

  startTunnel(): void {
    const host = this.#live();
    const isOpen = this.#state === SWITCHED ||
      (this.#state === BODY && this.#method === "CONNECT" && host.reader.done);
    if (!isOpen) {
      throw new ProxyError("internal_error", "Tunnel: no response that opens one was read");
    }
    this.#state = TUNNEL;
    this.#persistent = false;
    host.reader.beginTunnel();
    host.writer.begin("close", 0);
    if (host.ended !== null && !host.broken) host.reader.end();
  }

  closeTunnelWrite(): void {
    if (this.#state !== TUNNEL || this.#writeEnded) return;
    this.#writeEnded = true;
    this.#host.output.flush();
    this.#host.closeWrite();
  }

  release(): void {
    if (this.#isOver) return;
    const host = this.#host;
    const reusable = this.#sent && this.#state === BODY && this.#persistent &&
      this.#error === null && host.reader.done && host.writer.done;
    this.#finish();
    host.release(reusable);
  }

  abort(error?: ProxyError): void {
    if (this.#isOver) return;
    const host = this.#host;
    const why = error ?? new ProxyError("internal_error", "Response: given up");
    const rejected = this.waiting;
    this.#headWaiting = this.#bodyWaiting = false;
    this.#finish();
    if (rejected) this.#reject(why);
    host.release(false);
  }

  /** Bytes came, or no more will: serves who waits. */
  onBytes(): void {
    if (this.#isOver) return;
    const host = this.#host;
    if (host.input.size > 0) this.responseStarted = true;
    if (!this.waiting) {
      const { ended } = host;
      if (ended === null || this.responseStarted || this.#error !== null) return;
      this.#error = this.#describeEnd(ended);
      const handler = this.onFailure;
      this.onFailure = null;
      handler?.(this.#error);
      return;
    }
    let value: ResponseHead | Uint8Array | null;
    try {
      value = this.#headWaiting ? this.#nextHead(host) : this.#nextPiece(host);
    } catch (error) {
      this.#headWaiting = this.#bodyWaiting = false;
      this.#reject(error);
      return;
    }
    if (value === null) {
      host.wantBytes(this.#awaited());
      return;
    }
    this.#headWaiting = this.#bodyWaiting = false;
    (this.#resolve as (value: ResponseHead | Uint8Array) => void)(value);
  }

  /** Something took too long. */
  onTimeout(): void {
    if (!this.waiting) return;
    const error = this.#headWaiting && !this.#host.input.size && this.#state === HEAD
      ? new ProxyError("first_byte_timeout", "Response: did not begin in time", FROM_UPSTREAM)
      : new ProxyError("read_timeout", "Response: did not go on in time", FROM_UPSTREAM);
    this.#error = error;
    this.#headWaiting = this.#bodyWaiting = false;
    this.#reject(error);
  }

  #nextHead(host: UpstreamHost): ResponseHead | null {
    try {
      const response = host.parseHead(this.#method);
      if (response === null) {
        if (host.ended === null) return null;
        throw this.#describeEnd(host.ended);
      }
      return this.#accept(host, response);
    } catch (error) {
      throw this.#error = this.#own(error);
    }
  }

  #accept(host: UpstreamHost, response: Response): ResponseHead {
    this.responseStarted = true;
    const { head } = response;
    if (this.#fields !== null) (this.#oldFields ??= []).push(this.#fields);
    this.#fields = head.fields;
    if (head.informational) {
      if (++this.#informational > host.limits.informational) {
        throw new ProxyError(
          "invalid_response",
          `Response: more than ${host.limits.informational} informational heads`,
        );
      }
      if (!response.persistent) this.#persistent = false;
      return head;
    }
    if (head.status === 101) {
      if (!this.#offersUpgrade || !head.fields.has("upgrade")) {
        throw new ProxyError("invalid_response", "Response: 101 to a request without Upgrade");
      }
      this.#state = SWITCHED;
      this.#persistent = false;
    } else {
      this.#state = BODY;
      if (!response.persistent) this.#persistent = false;
      if (this.#method === "CONNECT" && head.status < 300) this.#persistent = false;
    }
    this.contentLength = response.contentLength;
    host.reader.begin(response.framing, response.contentLength, 0);
    return head;
  }

  #nextPiece(host: UpstreamHost): Uint8Array | null {
    try {
      if (host.ended !== null) {
        const mayEnd = !host.broken && host.reader.end();
        const piece = host.reader.next(host.input);
        if (piece === null && !mayEnd) throw this.#describeEnd(host.ended);
        return piece;
      }
      return host.reader.next(host.input);
    } catch (error) {
      throw this.#error = this.#own(error);
    }
  }

  /** What it means that no more bytes come, at the place where the response is. */
  #describeEnd(ended: ProxyError): ProxyError {
    // With TLS 1.3 a server refuses our certificate only after the handshake is over for us.
    if (ended.type === "tls_handshake_failure") return ended.from("upstream");
    if (!this.responseStarted) {
      // RFC 9112 §9.3.1: an upstream may close an idle connection just when it is used again.
      const type = ended.type === "connection_closed" ? "connection_closed" : "read_error";
      return new ProxyError(type, "Response: the connection ended before it began", {
        source: "upstream",
        retry: "reused-only",
        cause: ended,
      });
    }
    const type = ended.type === "connection_closed" ? "incomplete_response" : "read_error";
    return new ProxyError(type, "Response: the connection ended before it did", {
      source: "upstream",
      cause: ended,
    });
  }

  #own(error: unknown): ProxyError {
    return ProxyError.wrap(error, "internal_error", "Response", "upstream");
  }

  /** From the end of the request on the upstream is expected to begin, and then to go on. */
  #awaited(): Awaited {
    if (this.#state === TUNNEL || (this.#patient && this.#state === BODY)) return "nothing";
    if (this.#state !== HEAD || this.#host.input.size > 0) return "more";
    return this.#sent && this.#host.writer.done ? "first_byte" : "nothing";
  }

  #afterWrite(): void {
    if (this.#headWaiting && this.#host.writer.done) this.#host.retime(this.#awaited());
  }

  #finish(): void {
    this.#bodyBytes = this.bodyBytes;
    this.#bodyDone = this.bodyDone;
    if (this.#state !== HEAD) {
      this.#host.reader.trailers?.release();
      this.#host.reader.trailers = null;
    }
    this.#state = OVER;
    this.onFailure = null;
    this.#fields?.release();
    this.#fields = null;
    if (this.#oldFields !== null) { for (const fields of this.#oldFields) fields.release(); }
    if (!this.waiting) return;
    this.#headWaiting = this.#bodyWaiting = false;
    this.#reject(new ProxyError("internal_error", "Response: waited for after its release"));
  }

  #live(): UpstreamHost {
    if (this.#isOver) {
      throw new ProxyError("internal_error", "Upstream session: used after its end");
    }
    return this.#host;
  }

  #forContent(): UpstreamHost {
    const host = this.#live();
    if (!this.#sent) throw new ProxyError("internal_error", "Content: written before its head");
    if (this.#writeEnded) throw new ProxyError("internal_error", "Tunnel: written after its end");
    return host;
  }
}

const FROM_UPSTREAM = { source: "upstream" } as const;
const EMPTY: Framing = { kind: "length", length: 0 };
const NONE = new Uint8Array(0);

function nothing(): void {}
