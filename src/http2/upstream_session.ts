/**
 * One request to an HTTP/2 upstream and its response: one stream.
 *
 * @module
 */
import { giveBuffer } from "../base/buffer_pool.ts";
import { ProxyError } from "../base/error.ts";
import { young } from "../base/young.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Fields } from "../http/fields.ts";
import { hasNoContent, type RequestHead, ResponseHead, type Version } from "../http/message.ts";
import type { ConnectionFacts, Framing, UpstreamSession } from "../http/session.ts";
import { dropForbiddenTrailers } from "../http/trailers.ts";
import { upgradeProtocol } from "../http/upgrade.ts";
import {
  CANCEL,
  ENHANCE_YOUR_CALM,
  ERROR_CODE_NAMES,
  HTTP_1_1_REQUIRED,
  REFUSED_STREAM,
} from "./constants.ts";
import { Http2Error } from "./error.ts";
import type { FieldBlock } from "./hpack/field_block.ts";
import { readTrailers } from "./request_message.ts";
import { readResponse } from "./response_message.ts";
import type { Http2Stream, StreamHandler } from "./stream.ts";

/** What a session needs of its connection. */
export interface UpstreamHost {
  readonly facts: ConnectionFacts;
  readonly wheel: TimerWheel;
  /** Milliseconds from the end of the request to the first byte of the response. */
  readonly firstByteTimeout: number;
  /** Milliseconds between two pieces of the response. */
  readonly readTimeout: number;
  /** Most 1xx heads before the final one. */
  readonly informational: number;
  /** Whether it takes no more streams. */
  readonly leaving: boolean;
  /** Whether a request can switch to another protocol (RFC 8441). */
  readonly upgrades: boolean;
  /** Opens a stream, for a request to be sent on it at once. Only if not `leaving`. */
  open(): Http2Stream;
  /** The upstream wants HTTP/1.1. Returns whether anybody can go back to that. */
  requireHttp1(): boolean;
  /** A request has timed out: perhaps the upstream is gone. `since`: when it was sent, by the wheel. */
  suspect(since: number): void;
  /** A session that has opened no stream is over. */
  onUnused(): void;
}

const UNSENT = 0;
const HEAD = 1;
const BODY = 2;
const SWITCHED = 3;
const TUNNEL = 4;
const OVER = 5;

/** Implements {@linkcode UpstreamSession} over a stream. */
export class Http2UpstreamSession implements UpstreamSession, StreamHandler {
  readonly connection: ConnectionFacts;
  readonly version: Version = 20;
  readonly reused: boolean;
  onFailure: ((error: ProxyError) => void) | null = null;
  /** Whether any head of the response has arrived. */
  responseStarted = false;
  /** Bytes that the response head announces: to HEAD and in a 304 those that a GET would get. */
  contentLength = -1;
  readonly #host: UpstreamHost;
  #method: string;
  #state = UNSENT;
  #stream: Http2Stream | null = null;
  #error: ProxyError | null = null;
  /** Heads that came and were not read: 1xx ones, and perhaps the final one behind them. */
  #heads: ResponseHead[] | null = null;
  /** Whether the final head has come. */
  #answered = false;
  #informational = 0;
  /** Fields that were given out, to be let go of at the end. */
  #fields: Fields[] | null = null;
  /** What they lie in. */
  #headBytes: Uint8Array[] | null = null;
  /** Whether all of the request is sent, and when, by the wheel. */
  #sent = false;
  #sentAt = 0;
  /** Content bytes still to be written; `-1` if nobody knows. */
  #left = -1;
  #writeEnded = false;
  /** Whether the content of the response may pause for as long as it likes. */
  #patient = false;
  /** Whether an extended CONNECT was sent, whose 2xx is shown as 101. */
  #asksUpgrade = false;
  #deadline: Deadline | null = null;
  #resolve: ((head: ResponseHead) => void) | null = null;
  #reject: (error: ProxyError) => void = nothing;
  #bodyBytes = 0;
  #bodyDone = false;

  constructor(host: UpstreamHost, method: string, reused: boolean) {
    this.#host = host;
    this.#method = method;
    this.reused = reused;
    this.connection = host.facts;
  }

  get bodyBytes(): number {
    return this.#state === OVER ? this.#bodyBytes : this.#stream?.content.bytes ?? 0;
  }

  get bodyDone(): boolean {
    if (this.#state === OVER) return this.#bodyDone;
    return this.#state >= BODY && this.#stream!.content.done;
  }

  get trailers(): Fields | null {
    return this.#state === OVER || this.#stream === null ? null : this.#stream.content.trailers;
  }

  writeHead(head: RequestHead, framing: Framing): void {
    if (this.#state !== UNSENT) {
      throw new ProxyError("internal_error", "Request head: written twice, or too late");
    }
    const host = this.#host;
    const offered = head.fields.get("upgrade");
    const protocol = offered === null ? "" : this.#protocolOf(offered, framing);
    if (host.leaving) throw refusedByGoaway();
    this.#method = head.method;
    this.#asksUpgrade = protocol !== "";
    const length = framing.kind === "length" ? framing.length : framing.kind === "stream" ? -1 : 0;
    // RFC 9110 §8.6: a request that could have content says that it has none; GET and the like need not.
    const saysLength = framing.kind === "length" ||
      (framing.kind === "none" &&
        (head.method === "POST" || head.method === "PUT" || head.method === "PATCH"));
    const opensTunnel = this.#asksUpgrade || head.method === "CONNECT";
    const ends = length === 0 && !opensTunnel;
    const stream = this.#stream = host.open();
    stream.handler = this;
    const { content } = stream;
    content.timeout = this.#patient ? 0 : host.readTimeout;
    content.onTimeout = young(() => this.#timedOut("read_timeout", "did not go on in time"));
    const scheme = host.facts.tls === null ? "http" : "https";
    stream.sendRequest(head, scheme, protocol, saysLength && !opensTunnel ? length : -1, ends);
    this.#state = HEAD;
    this.#left = opensTunnel ? -1 : length;
    this.#writeEnded = ends;
    this.#sent = ends || opensTunnel;
    this.#sentAt = host.wheel.now;
  }

  writeBody(bytes: Uint8Array, end: boolean): void | Promise<void> {
    const stream = this.#forContent();
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
    if (this.#writeEnded) return;
    if (!end) return stream.send(bytes, false);
    this.#writeEnded = true;
    const sent = stream.send(bytes, true);
    if (sent === undefined) this.#onSent();
    else sent.then(() => this.#onSent(), nothing);
    return sent;
  }

  endBody(trailers: Fields | null): void | Promise<void> {
    const stream = this.#forContent();
    if (trailers !== null && !this.#writeEnded && this.#left <= 0) {
      dropForbiddenTrailers(trailers);
      if (trailers.size > 0) {
        this.#writeEnded = true;
        stream.sendTrailers(trailers);
        this.#onSent();
        return;
      }
    }
    return this.writeBody(NONE, true);
  }

  flush(): void | Promise<void> {
    this.#live();
    return this.#stream?.settle();
  }

  readHead(): ResponseHead | Promise<ResponseHead> {
    this.#live();
    if (this.#heads !== null && this.#heads.length > 0) return this.#giveHead(this.#heads.shift()!);
    if (this.#error !== null) throw this.#error;
    if (this.#state !== HEAD || this.#resolve !== null) {
      throw new ProxyError("internal_error", "Response head: read at the wrong time");
    }
    this.#armHead();
    return new Promise<ResponseHead>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  readBody(): Uint8Array | Promise<Uint8Array> {
    this.#live();
    if (this.#state < BODY || this.#state === SWITCHED) {
      throw new ProxyError("internal_error", "Response content: read at the wrong time");
    }
    return this.#stream!.content.read();
  }

  allowSilence(): void {
    this.#patient = true;
    if (this.#stream !== null) this.#stream.content.timeout = 0;
  }

  startTunnel(): void {
    this.#live();
    const isOpen = this.#state === SWITCHED ||
      (this.#state === BODY && this.#method === "CONNECT" && !this.#asksUpgrade);
    if (!isOpen) {
      throw new ProxyError("internal_error", "Tunnel: no response that opens one was read");
    }
    this.#state = TUNNEL;
    this.#stream!.content.timeout = 0;
  }

  closeTunnelWrite(): void {
    if (this.#state !== TUNNEL || this.#writeEnded) return;
    this.#writeEnded = true;
    const stream = this.#stream!;
    if (stream.failure !== null) return;
    const waiting = stream.settle();
    if (waiting === undefined) stream.send(NONE, true);
    else waiting.then(() => stream.send(NONE, true)).catch(nothing);
  }

  release(): void {
    if (this.#state !== OVER) this.#finish();
  }

  abort(error?: ProxyError): void {
    if (this.#state !== OVER) this.#finish(error);
  }

  // What the stream calls.

  onHeaders(block: FieldBlock, endStream: boolean): void {
    const stream = this.#stream!;
    const { id } = stream;
    if (this.#answered) return stream.receivedEnd(readTrailers(block, id, endStream));
    if (block.tooLarge) {
      return this.#reset(
        new ProxyError("response_head_too_large", "Response head: larger than allowed", UPSTREAM),
      );
    }
    const { bytes, contentLength, head } = readResponse(block, id, endStream);
    this.responseStarted = true;
    (this.#fields ??= []).push(head.fields);
    (this.#headBytes ??= []).push(bytes);
    if (head.informational) {
      if (++this.#informational > this.#host.informational) {
        throw new Http2Error(
          ENHANCE_YOUR_CALM,
          `more than ${this.#host.informational} informational heads`,
          id,
        );
      }
      return this.#serve(head);
    }
    this.#answered = true;
    this.contentLength = contentLength;
    // A tunnel has no length, and a response that has no content may announce what a GET would have got.
    const tunnel = this.#opensTunnel(head.status);
    if (!tunnel) {
      stream.content.announced = hasNoContent(this.#method, head.status) ? 0 : contentLength;
    }
    if (endStream) stream.receivedEnd(null);
    // RFC 8441 §4: a 2xx is to extended CONNECT what 101 is to Upgrade.
    this.#serve(tunnel && this.#asksUpgrade ? new ResponseHead(101, head.fields, "", 20) : head);
  }

  onReset(code: number): ProxyError {
    const error = this.#resetError(code);
    this.#fail(error);
    return error;
  }

  onLost(error: ProxyError): ProxyError {
    const { responseStarted } = this;
    if (error.type === "connection_closed" && responseStarted) {
      return new ProxyError(
        "incomplete_response",
        "Response: the connection ended before it did",
        { source: "upstream", cause: error },
      );
    }
    const told = error.copy().from("upstream");
    // An upstream may close an idle connection just when it is used again.
    const isDeath = told.type === "connection_closed" || told.type === "socket_error" ||
      told.type === "read_error" || told.type === "write_error";
    if (isDeath && !responseStarted && told.source === "upstream") told.retry = "reused-only";
    return told;
  }

  onError(error: ProxyError): void {
    this.#fail(error.from("upstream"));
  }

  #protocolOf(offered: string, framing: Framing): string {
    const protocol = upgradeProtocol(offered);
    const refuse = (why: string): never => {
      throw new ProxyError("upgrade_failed", `Request: ${why}`, UPSTREAM);
    };
    if (protocol === "") refuse("asks for a protocol that HTTP/2 cannot switch to");
    if (framing.kind !== "none") refuse("has content, which an upgrade over HTTP/2 cannot have");
    if (!this.#host.upgrades) {
      refuse("the upstream takes no upgrades over HTTP/2 (RFC 8441)");
    }
    return protocol;
  }

  #opensTunnel(status: number): boolean {
    return (this.#asksUpgrade || this.#method === "CONNECT") && status >= 200 && status < 300;
  }

  #serve(head: ResponseHead): void {
    const resolve = this.#resolve;
    if (resolve === null) {
      (this.#heads ??= []).push(head);
      return;
    }
    this.#resolve = null;
    resolve(this.#giveHead(head));
  }

  #giveHead(head: ResponseHead): ResponseHead {
    if (!head.informational) this.#state = head.status === 101 ? SWITCHED : BODY;
    return head;
  }

  #resetError(code: number): ProxyError {
    const name = ERROR_CODE_NAMES[code] ?? `code ${code}`;
    const context = `Request: reset by the upstream (${name})`;
    const { responseStarted } = this;
    if (code === REFUSED_STREAM && !responseStarted) {
      return this.#host.leaving
        ? refusedByGoaway()
        : new ProxyError("stream_reset", context, UNPROCESSED);
    }
    if (code === HTTP_1_1_REQUIRED && !responseStarted) {
      const unprocessed = this.#host.requireHttp1();
      return new ProxyError("http_1_1_required", context, { source: "upstream", unprocessed });
    }
    return new ProxyError("stream_reset", context, UPSTREAM);
  }

  /** The stream is over for us: nothing more can be read that is not there already. */
  #fail(error: ProxyError): void {
    if (this.#state === OVER || this.#error !== null) return;
    this.#error = error;
    if (this.#resolve !== null) {
      this.#resolve = null;
      this.#reject(error);
    } else if (!this.responseStarted) {
      const handler = this.onFailure;
      this.onFailure = null;
      handler?.(error);
    }
  }

  #timedOut(type: "first_byte_timeout" | "read_timeout", what: string): ProxyError {
    const error = new ProxyError(type, `Response: ${what}`, UPSTREAM);
    this.#host.suspect(this.#sentAt);
    this.#reset(error);
    return error;
  }

  /** Ends the stream and nothing else. */
  #reset(error: ProxyError): void {
    this.#stream!.reset(CANCEL, error);
    this.#fail(error);
  }

  /** From the end of the request on the upstream is expected to begin. */
  #armHead(): void {
    const { wheel, firstByteTimeout } = this.#host;
    if (!this.#sent) return;
    this.#deadline ??= new Deadline(() => {
      // Left in the wheel when nobody waits: moving it later is cheaper than taking it out.
      if (this.#resolve === null) return;
      this.#timedOut("first_byte_timeout", "did not begin in time");
    });
    wheel.arm(this.#deadline, firstByteTimeout);
  }

  #onSent(): void {
    this.#sent = true;
    this.#sentAt = this.#host.wheel.now;
    if (this.#resolve !== null && this.#stream !== null) this.#armHead();
  }

  #finish(why?: ProxyError): void {
    this.#bodyBytes = this.bodyBytes;
    this.#bodyDone = this.bodyDone;
    const stream = this.#stream;
    // A limit of the attempt may come before ours.
    if (why?.type === "first_byte_timeout" && !this.responseStarted && this.#error === null) {
      this.#host.suspect(this.#sentAt);
    }
    this.onFailure = null;
    this.#state = OVER;
    if (this.#deadline !== null) this.#host.wheel.cancel(this.#deadline);
    if (this.#resolve !== null) {
      this.#resolve = null;
      this.#reject(why ?? givenUp());
    }
    if (this.#fields !== null) { for (const fields of this.#fields) fields.release(); }
    if (this.#headBytes !== null) { for (const bytes of this.#headBytes) giveBuffer(bytes); }
    this.#headBytes = null;
    if (stream === null) return this.#host.onUnused();
    stream.content.trailers?.release();
    // What is not complete is not wanted any more (RFC 9113 §7, CANCEL).
    if (!stream.closed) stream.reset(CANCEL, why ?? givenUp());
    stream.release();
  }

  #live(): void {
    if (this.#state === OVER) {
      throw new ProxyError("internal_error", "Upstream session: used after its end");
    }
  }

  #forContent(): Http2Stream {
    this.#live();
    if (this.#stream === null) {
      throw new ProxyError("internal_error", "Content: written before its head");
    }
    if (this.#state === TUNNEL && this.#writeEnded) {
      throw new ProxyError("internal_error", "Tunnel: written after its end");
    }
    return this.#stream;
  }
}

const UPSTREAM = { source: "upstream" } as const;
const UNPROCESSED = { source: "upstream", unprocessed: true } as const;
const NONE = new Uint8Array(0);

function givenUp(): ProxyError {
  return new ProxyError("internal_error", "Response: given up");
}

/** RFC 9113 §6.8: what comes after the last stream of GOAWAY was not processed. */
function refusedByGoaway(): ProxyError {
  return new ProxyError(
    "connection_closed",
    "Request: not processed, because the upstream takes no more on this connection (GOAWAY)",
    UNPROCESSED,
  );
}

function nothing(): void {}
