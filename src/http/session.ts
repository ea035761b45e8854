/**
 * A request and its response as the proxy moves them: the seam between HTTP versions and everything above.
 *
 * Content is pulled. `readBody` gives the next piece as a view that is good until it is called again, and a
 * writer says by a promise when it wants to be waited for, so the slower side sets the pace and nothing
 * queues up in between.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { Address } from "../transport/address.ts";
import type { ConnectionTls } from "../transport/socket.ts";
import type { Fields } from "./fields.ts";
import type { RequestHead, ResponseHead, Version } from "./message.ts";

/** What is known of the connection a session runs on. */
export interface ConnectionFacts {
  /** Unique within its service worker. */
  readonly id: number;
  /** Who is at the other end; or, by the word of a PROXY header, the client behind it. */
  readonly remote: Address;
  /** Who sent that PROXY header. */
  readonly relay?: Address | undefined;
  readonly local: Address;
  readonly tls: ConnectionTls | null;
  /** Milliseconds, `performance.now()`, when it was accepted or connected. */
  readonly since: number;
}

/** How the content of a message we send ends. */
export type Framing =
  /** No content. */
  | { readonly kind: "none" }
  /** Exactly so many bytes. */
  | { readonly kind: "length"; readonly length: number }
  /** As long as it lasts: chunked on HTTP/1.1, DATA until END_STREAM on HTTP/2, until close on HTTP/1.0. */
  | { readonly kind: "stream" };

export const NO_CONTENT: Framing = { kind: "none" };
export const STREAM: Framing = { kind: "stream" };

/** Where content comes from. */
export interface BodySource {
  /** Bytes announced by Content-Length, `0` if there is no content, `-1` if nobody knows. */
  readonly contentLength: number;
  /** Whether all content was given out. May turn true together with the last piece. */
  readonly bodyDone: boolean;
  /** Content bytes given out so far. */
  readonly bodyBytes: number;
  /** The trailer section, once `bodyDone`; `null` if there was none. */
  readonly trailers: Fields | null;
  /**
   * The next piece of content: never empty unless the content has ended. A promise if it has to be waited for.
   * The view is good until the next call.
   *
   * @throws {ProxyError} If the content is malformed, cut short, too slow or too large.
   */
  readBody(): Uint8Array | Promise<Uint8Array>;
  /**
   * From here on content may pause for as long as it likes, and come as slowly: whoever calls this watches the time for
   * both sides.
   */
  allowSilence(): void;
}

/** Where content goes to. Heads and small pieces are gathered, so that a small message is one write. */
export interface BodySink {
  /**
   * Writes content. The bytes are the caller's again when the call returns, or when its promise resolves.
   *
   * @param end Whether this is the last piece; nothing is then held back.
   * @throws {ProxyError} If the connection is gone or too slow.
   */
  writeBody(bytes: Uint8Array, end: boolean): void | Promise<void>;
  /** Ends the content with a trailer section; trailers are dropped where the framing has no place for them. */
  endBody(trailers: Fields | null): void | Promise<void>;
  /** Sends what is gathered. To be called before waiting for anything. */
  flush(): void | Promise<void>;
}

/** The client's side of a request. */
export interface DownstreamSession extends BodySource, BodySink {
  readonly head: RequestHead;
  readonly connection: ConnectionFacts;
  /** `performance.now()` when the head was complete. */
  readonly startedAt: number;
  /** Name of the listener that accepted it. */
  readonly listener: string;
  /** Which request of its connection this is, from 1. */
  readonly requestNumber: number;
  /** The protocol that the client wants to switch to (lower case; `Upgrade`, or `:protocol`), or empty. */
  readonly upgrade: string;
  /** Whether the client takes trailers (`TE: trailers`, or any HTTP/2 client). */
  readonly acceptsTrailers: boolean;
  /** Whether the client waits for a 100 before it sends content. */
  readonly expectsContinue: boolean;
  /** Whether the head of the final response is written. */
  readonly responded: boolean;
  /** Status written, or `0`. */
  readonly status: number;
  /** Content bytes written to the client. */
  readonly bytesSent: number;
  /** Why the client's side failed or went away, or `null`. */
  readonly failure: ProxyError | null;
  /** Called at most once if the client goes away, or its connection breaks, before the response is complete. */
  onFailure: ((error: ProxyError) => void) | null;
  /** Who serves it: whoever has to find its requests again knows them by this. `null`: nobody has to. */
  servedBy: object | null;
  /** Whether the connection may serve another request after this one. Can only be turned off. */
  keepAlive: boolean;
  /** Limits what is read from here on; `0` is no limit. Crossing it is `body_too_large`. */
  limitBody(bytes: number): void;
  /** Sends a 1xx head at once, where the version allows it. */
  writeInformational(head: ResponseHead): void;
  /** Gathers the head of the final response. The fields hold no framing: that is `framing`'s. */
  writeHead(head: ResponseHead, framing: Framing): void;
  /** After a 101 (or a 2xx to CONNECT) was written: what is read and written from now on is the tunnel's, without a limit on silence. */
  startTunnel(): void;
  /** Ends our direction of a tunnel. */
  closeTunnelWrite(): void;
  /** Gives up: cuts the response so that the client sees it is not whole. */
  abort(error: ProxyError): void;
}

/** The upstream's side of one attempt. */
export interface UpstreamSession extends BodySource, BodySink {
  readonly connection: ConnectionFacts;
  /** The HTTP version that is spoken on the connection: 11 also to an upstream that answers as 1.0. */
  readonly version: Version;
  /** Whether the connection had carried a request before. */
  readonly reused: boolean;
  /** Whether any byte of the response has arrived. */
  readonly responseStarted: boolean;
  /** Called at most once if the upstream's side breaks while nobody is reading. */
  onFailure: ((error: ProxyError) => void) | null;
  /** Gathers the request head. */
  writeHead(head: RequestHead, framing: Framing): void;
  /**
   * The next response head, 1xx ones too; the last one is final. Its fields are free of hop-by-hop fields
   * and framing, and good until `release` or `abort`.
   *
   * @throws {ProxyError} If there is none, or not a well-formed one, in time.
   */
  readHead(): ResponseHead | Promise<ResponseHead>;
  /**
   * After a 101 (or a 2xx to CONNECT): what is read and written from now on is the tunnel's. How long it may be silent
   * is not for the session to judge: there is no limit between two pieces.
   */
  startTunnel(): void;
  /** Ends our direction of a tunnel. */
  closeTunnelWrite(): void;
  /** The exchange is over: the connection goes back to its pool, or is closed if it cannot be used again. */
  release(): void;
  /** Closes the connection, or resets the stream. */
  abort(error?: ProxyError): void;
}
