/**
 * What a hook sees of a request, and what it may do to it.
 *
 * The same types hold in every isolation level: in a sandbox the values are a snapshot and the writes travel
 * back as one message; inline they act at once.
 *
 * @module
 */
import type { ErrorSource, ErrorType } from "../base/error.ts";
import type { TlsFacts } from "../transport/socket.ts";

/** Fields of a message. Names are matched in any case; their order and spelling are kept. */
export interface ReadonlyHeaders extends Iterable<[string, string]> {
  /** The value of `name`, several joined by `, `, or `null`. */
  get(name: string): string | null;
  /** Each value of `name`. Use it for `set-cookie`. */
  getAll(name: string): string[];
  /** Whether there is a field `name`. */
  has(name: string): boolean;
}

/** Fields that this phase may change. A bad name or value throws a `TypeError`. */
export interface MutableHeaders extends ReadonlyHeaders {
  /** Gives `name` this one value. */
  set(name: string, value: string): void;
  /** Adds a field `name`, beside those that are there. */
  append(name: string, value: string): void;
  /** Removes every field `name`; says whether there was one. */
  delete(name: string): boolean;
}

/** The request as the client sent it, hop-by-hop fields and framing taken off. */
export interface RequestView {
  /** `GET`, `POST`, … as sent: methods are case-sensitive. */
  readonly method: string;
  /** Scheme, authority, path and query: `http://example.com/a?b=c`. */
  readonly url: string;
  /** Path and query. */
  readonly target: string;
  /** The path, as sent: not decoded, not normalised. */
  readonly path: string;
  /** What follows the `?`, without it; empty if there is none. */
  readonly query: string;
  /** `http` or `https`, as the client reached us. */
  readonly scheme: string;
  /** Host and port that the client asked for. */
  readonly authority: string;
  /** `1.0`, `1.1`, `2` or `3`. */
  readonly httpVersion: string;
  /** Its fields; to change what is sent on, change `session.upstreamRequest`. */
  readonly headers: ReadonlyHeaders;
}

/** The request as it will go to the upstream. */
export interface UpstreamRequest {
  /** Setting it throws a `TypeError` if it is not a method, or is `CONNECT`. */
  method: string;
  /** Path and query. Setting it throws a `TypeError` if it does not begin with `/` or needs encoding. */
  target: string;
  /** Its fields. Those that only the sender can know, such as `content-length`, cannot be set. */
  readonly headers: MutableHeaders;
}

/** A response on its way to the client. */
export interface ResponseView {
  /** Setting it throws a `TypeError` if it is not a final status, or would change whether there is content. */
  status: number;
  /** Its fields. Those that only the sender can know, such as `content-length`, cannot be set. */
  readonly headers: MutableHeaders;
  /**
   * Says that this plugin does not want to see the content of this response: its body hooks are not called for it,
   * and content that nobody wants to see passes as it is, with its length. To be called in `upstreamResponseFilter`
   * or `responseFilter`.
   *
   * @throws {TypeError} In any other phase.
   */
  skipBody(): void;
}

/** Who sent the request. */
export interface Client {
  /** IP address, seen through trusted proxies; empty on a unix socket. */
  readonly address: string;
  /** Port of the connection, `0` where there is none. */
  readonly port: number;
  /** IP address of the other end of the connection. */
  readonly peer: string;
  /** What was agreed on with the client, or `null` without TLS. */
  readonly tls: TlsFacts | null;
}

/** A value that can be copied between threads. */
export type Cloneable =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | Uint8Array
  | readonly Cloneable[]
  | { readonly [key: string]: Cloneable };

/** Values that plugins keep for the time of one request. All plugins see them; the access log may, too. */
export interface Vars {
  /** A value, or `undefined`. */
  get(name: string): Cloneable;
  /** Whether there is one. */
  has(name: string): boolean;
  /**
   * Sets a value for the hooks that follow. Begin the name with that of the plugin: `geo.country`.
   *
   * @throws {TypeError} If the value cannot be copied, or in a sandbox is larger than 64 KiB.
   */
  set(name: string, value: Cloneable): void;
  /** Removes a value; says whether there was one. */
  delete(name: string): boolean;
}

/** What {@linkcode Session.respond} takes besides status and body. */
export interface ReplyInit {
  /** Fields of the answer. */
  readonly headers?: Readonly<Record<string, string>> | Iterable<readonly [string, string]>;
}

/** A problem document (RFC 9457). `status`, `title` and `instance` are filled in. */
export interface ProblemBody {
  /** A URI that names the kind of problem. */
  readonly type?: string;
  /** The kind of problem, in a few words. */
  readonly title?: string;
  /** This very problem, in a sentence. */
  readonly detail?: string;
  /** Whatever else a client may want to know. */
  readonly [extension: string]: Cloneable;
}

/** An answer that ends the request. Made by {@linkcode Session.respond}; return it from the hook. */
export interface Reply {
  /** What it is. */
  readonly kind: "reply";
  /** 200–599. */
  readonly status: number;
  /** Names and values of its fields. */
  readonly headers: readonly (readonly [string, string])[];
  /** Its content. */
  readonly body: Uint8Array | null;
}

/** What every hook of a request gets. */
export interface Session {
  /** Names this request in logs. */
  readonly id: string;
  /** The request as it came. */
  readonly request: RequestView;
  /** Who sent it. */
  readonly client: Client;
  /** Name of the listener. */
  readonly listener: string;
  /** `id` of the route, or `null` before one matched. */
  readonly route: string | null;
  /** `1` for the first attempt to reach an upstream, `0` before it. */
  readonly attempt: number;
  /** Who is asked, once it is known. */
  readonly upstream: UpstreamView | null;
  /** Milliseconds since the request head was complete. */
  readonly elapsed: number;
  /** What plugins keep for the time of this request. */
  readonly vars: Vars;
  /**
   * Makes an answer; return it from the hook to send it.
   *
   * @param status 200–599.
   * @param body Text (sent as `text/plain`), bytes, `null`, or an object, sent as a problem document
   * (RFC 9457) when the status is 400 or more, and as JSON otherwise.
   * @throws {RangeError} If the status is not a final one.
   */
  respond(status: number, body?: string | Uint8Array | ProblemBody | null, init?: ReplyInit): Reply;
}

/** The peer of the current attempt. */
export interface UpstreamView {
  /** Name of the upstream group, or `null` for a peer that a plugin named itself. */
  readonly name: string | null;
  /** `host:port` or `unix:/path`. */
  readonly address: string;
  /** Whether the connection had been used before; `false` until connected. */
  readonly reused: boolean;
}

/** A session before an upstream is asked. */
export interface RequestSession extends Session {
  /** The request as it will be sent on; changes hold for every attempt. */
  readonly upstreamRequest: UpstreamRequest;
  /**
   * Reads the whole content of the request; it is still sent to the upstream.
   *
   * @param limit Bytes; default and most is the `plugin_body_buffer` of the listener (1 MiB).
   * @throws {RangeError} If there is more.
   */
  readBody(limit?: number): Promise<Uint8Array>;
}

/** A session while the request goes to the upstream. */
export interface UpstreamRequestSession extends Session {
  /** The request of this attempt. */
  readonly upstreamRequest: UpstreamRequest;
}

/** A session whose upstream has answered. */
export interface UpstreamResponseSession extends Session {
  /** The head that the upstream sent. */
  readonly upstreamResponse: ResponseView;
}

/** A session whose answer goes to the client. */
export interface ResponseSession extends Session {
  /** The head on its way to the client. */
  readonly response: ResponseView;
}

/** A session whose trailers are moving. */
export interface TrailerSession extends Session {
  /** The trailers. */
  readonly trailers: MutableHeaders;
}

/** A session that is over. */
export interface FinishedSession extends Session {
  /** How the request ended. */
  readonly outcome: Outcome;
}

/** How a request ended. */
export interface Outcome {
  /** Status sent, or `0` if nothing was. */
  readonly status: number;
  /** Bytes of content that the client sent. */
  readonly bytesReceived: number;
  /** Bytes that were sent to the client. */
  readonly bytesSent: number;
  /** How many attempts were made to reach an upstream. */
  readonly attempts: number;
  /** Milliseconds from the head to the end. */
  readonly duration: number;
  /** Why it failed, or `null`. */
  readonly error: FailureView | null;
}

/** What went wrong. */
export interface FailureView {
  /** What kind of failure. */
  readonly type: ErrorType;
  /** On which side. */
  readonly source: ErrorSource;
  /** For logs; not for clients. */
  readonly message: string;
  /** Status that the client will get if nobody says otherwise. */
  readonly status: number;
}

/** What went wrong with one attempt. */
export interface Failure extends FailureView {
  /** Whether another attempt will be made; set it to decide. */
  retry: boolean;
}

/** A peer that a hook chooses itself. */
export interface PeerSpec {
  /** `host:port` or `unix:/path`. */
  readonly address: string;
  /** TLS to the upstream: `true`, or how. Default: none. */
  readonly tls?: boolean | {
    /** Name to ask for and to check. Default: the host of the address. */
    readonly serverName?: string;
  };
  /**
   * What is spoken: `h1`; `h2` over TLS; `h2c`, HTTP/2 in clear text; `auto`, over TLS what the upstream prefers, else
   * `h1`. Default: `h1`.
   */
  readonly protocol?: "h1" | "h2" | "h2c" | "auto";
  /** How HTTP/2 is spoken. Default: as for upstreams of the config. */
  readonly http2?: PeerHttp2;
}

/** How HTTP/2 is spoken with a {@linkcode PeerSpec}. */
export interface PeerHttp2 {
  /** Requests at a time on one connection, 1 or more. */
  readonly maxStreams?: number;
  /** Milliseconds of silence after which the upstream is asked by PING; `0`: only when a request has timed out. */
  readonly pingInterval?: number;
  /** Milliseconds that its answer may take, 1 or more. */
  readonly pingTimeout?: number;
  /** Bytes of response content of one request that may be on their way, 65,535 to 2,147,483,647. */
  readonly streamWindow?: number;
}

/** A choice within an upstream group of the config. */
export interface PeerChoice {
  /** Name of the group. */
  readonly upstream: string;
  /** A member of the group by its address, as the config spells it. Default: the group chooses. */
  readonly backend?: string;
  /** Labels of the members to prefer. Default: what the config says. */
  readonly subset?: Readonly<Record<string, string>>;
  /** What to hash, for groups that hash. Default: what the config says. */
  readonly hashValue?: string;
}

/** A connection that was just accepted. */
export interface ConnectionView {
  /** IP address, or empty on a unix socket. */
  readonly address: string;
  /** Port of the client, `0` on a unix socket. */
  readonly port: number;
  /** Name of the listener that accepted it. */
  readonly listener: string;
}
