/**
 * The one error type of the data path.
 *
 * An error says what happened (`type`), on which side (`source`), and whether the same request may be
 * tried again (`retry`). Whoever catches it asks those three and never guesses from a message.
 *
 * @module
 */

/** Which side of the proxy an error comes from. `unset` until somebody who knows fills it in. */
export type ErrorSource = "upstream" | "downstream" | "internal" | "unset";

/**
 * Whether the request may be tried again. `reused-only`: yes, if the connection had been used before,
 * because then the peer may have closed it before it saw the request; {@linkcode ProxyError.decideRetry}
 * settles it.
 */
export type Retry = boolean | "reused-only";

/** What the table says of one error type. */
export interface ErrorRow {
  /** Status sent when this error ends a request and no head went out yet. `0`: nothing can be sent. */
  readonly status: number;
  /** RFC 9209 §2.3 error token for `Proxy-Status`; empty where the RFC has none. */
  readonly token: string;
}

/** Every error type, its status and its RFC 9209 token. Adding an error is adding a row. */
export const ERROR_TYPES = {
  // Reaching an upstream
  connect_timeout: { status: 504, token: "connection_timeout" },
  connect_refused: { status: 502, token: "connection_refused" },
  connect_no_route: { status: 502, token: "destination_ip_unroutable" },
  connect_error: { status: 502, token: "destination_unavailable" },
  connect_proxy_failure: { status: 502, token: "destination_unavailable" },
  dns_error: { status: 502, token: "dns_error" },
  dns_timeout: { status: 504, token: "dns_timeout" },
  bind_error: { status: 500, token: "proxy_internal_error" },
  socket_error: { status: 502, token: "connection_terminated" },
  tls_handshake_failure: { status: 502, token: "tls_protocol_error" },
  tls_handshake_timeout: { status: 504, token: "connection_timeout" },
  invalid_cert: { status: 502, token: "tls_certificate_error" },
  no_upstream: { status: 503, token: "destination_unavailable" },
  circuit_open: { status: 503, token: "destination_unavailable" },
  connection_limit: { status: 503, token: "connection_limit_reached" },
  // Talking to a peer that is connected
  read_error: { status: 502, token: "connection_terminated" },
  write_error: { status: 502, token: "connection_terminated" },
  read_timeout: { status: 504, token: "connection_read_timeout" },
  write_timeout: { status: 504, token: "connection_write_timeout" },
  first_byte_timeout: { status: 504, token: "http_response_timeout" },
  connection_closed: { status: 502, token: "connection_terminated" },
  invalid_response: { status: 502, token: "http_protocol_error" },
  stream_reset: { status: 502, token: "connection_terminated" },
  http_1_1_required: { status: 502, token: "http_protocol_error" },
  ping_timeout: { status: 504, token: "connection_read_timeout" },
  incomplete_response: { status: 502, token: "http_response_incomplete" },
  response_head_too_large: { status: 502, token: "http_response_header_section_size" },
  upstream_status: { status: 502, token: "http_protocol_error" },
  upgrade_failed: { status: 502, token: "http_upgrade_failed" },
  // A tunnel that there is no place for, or that went on for too long, or not at all
  tunnel_limit: { status: 503, token: "proxy_internal_response" },
  tunnel_idle_timeout: { status: 504, token: "" },
  tunnel_timeout: { status: 504, token: "" },
  // What a client did
  invalid_request: { status: 400, token: "http_request_error" },
  head_too_large: { status: 431, token: "http_request_error" },
  too_many_fields: { status: 431, token: "http_request_error" },
  target_too_long: { status: 414, token: "http_request_error" },
  body_too_large: { status: 413, token: "http_request_error" },
  header_timeout: { status: 408, token: "http_request_error" },
  body_timeout: { status: 408, token: "http_request_error" },
  deadline_exceeded: { status: 504, token: "http_response_timeout" },
  expectation_failed: { status: 417, token: "http_request_error" },
  version_not_supported: { status: 505, token: "http_request_error" },
  not_implemented: { status: 501, token: "http_request_error" },
  method_not_allowed: { status: 405, token: "http_request_denied" },
  misdirected_request: { status: 421, token: "http_request_denied" },
  client_closed: { status: 0, token: "" },
  peer_flood: { status: 0, token: "http_request_denied" },
  // What we decided, or did wrong
  no_route: { status: 404, token: "" },
  denied: { status: 403, token: "http_request_denied" },
  loop_detected: { status: 508, token: "proxy_loop_detected" },
  plugin_error: { status: 500, token: "proxy_internal_error" },
  plugin_timeout: { status: 500, token: "proxy_internal_error" },
  plugin_unavailable: { status: 500, token: "proxy_internal_error" },
  http_status: { status: 500, token: "proxy_internal_response" },
  shutting_down: { status: 503, token: "proxy_internal_response" },
  config_error: { status: 500, token: "proxy_configuration_error" },
  internal_error: { status: 500, token: "proxy_internal_error" },
} as const;

/** The name of a row of {@linkcode ERROR_TYPES}. */
export type ErrorType = keyof typeof ERROR_TYPES;

/** What an error carries besides its type and message. */
export interface ProxyErrorOptions {
  /** Default: `unset`. */
  readonly source?: ErrorSource;
  /** Default: `false`. */
  readonly retry?: Retry;
  /** Status for the client, over that of the table. */
  readonly status?: number;
  /** Milliseconds after which another request may fare better. Default `0`: not known. */
  readonly retryAfter?: number;
  /** Whether the upstream has said that it did nothing with the request. Default: `false`. */
  readonly unprocessed?: boolean;
  /** What caused it. */
  readonly cause?: unknown;
}

/** The error of the data path: type, source, retry, cause. */
export class ProxyError extends Error {
  override readonly name: string = "ProxyError";
  readonly type: ErrorType;
  /** Milliseconds after which another request may fare better; `0`: not known. */
  readonly retryAfter: number;
  /**
   * Whether the upstream has said that it did nothing with the request (RFC 9113 §8.7), which may then be sent again
   * whatever its method.
   */
  readonly unprocessed: boolean;
  source: ErrorSource;
  retry: Retry;
  #status: number;

  /**
   * @param type A row of {@linkcode ERROR_TYPES}.
   * @param context What was being done, a colon, and what was found. No secrets: it is logged.
   */
  constructor(type: ErrorType, context: string, options: ProxyErrorOptions = {}) {
    super(context, options.cause === undefined ? undefined : { cause: options.cause });
    this.type = type;
    this.retryAfter = options.retryAfter ?? 0;
    this.unprocessed = options.unprocessed ?? false;
    this.source = options.source ?? "unset";
    this.retry = options.retry ?? false;
    this.#status = options.status ?? -1;
  }

  /** The status for the client if nothing was sent yet; `0` if nothing can be sent. */
  get status(): number {
    return this.#status >= 0 ? this.#status : ERROR_TYPES[this.type].status;
  }

  /** The RFC 9209 token, or an empty string. */
  get token(): string {
    return ERROR_TYPES[this.type].token;
  }

  /** Fills in the source if nobody did yet. */
  from(source: ErrorSource): this {
    if (this.source === "unset") this.source = source;
    return this;
  }

  /** Turns `reused-only` into a plain answer, now that it is known whether the connection was reused. */
  decideRetry(reused: boolean): void {
    if (this.retry === "reused-only") this.retry = reused;
  }

  /** The same for another request that it happened to as well: what is decided for one must not show at the other. */
  copy(): ProxyError {
    return new ProxyError(this.type, this.message, {
      source: this.source,
      retry: this.retry,
      retryAfter: this.retryAfter,
      unprocessed: this.unprocessed,
      ...(this.#status < 0 ? {} : { status: this.#status }),
      ...(this.cause === undefined ? {} : { cause: this.cause }),
    });
  }

  /** The message with all causes, each once, for logs. */
  explain(): string {
    const parts = [`${this.type}: ${this.message}`];
    let cause = this.cause;
    for (let depth = 0; cause !== undefined && depth < 8; depth++) {
      const text = cause instanceof ProxyError
        ? `${cause.type}: ${cause.message}`
        : cause instanceof Error
        ? `${cause.name}: ${cause.message}`
        : String(cause);
      if (!parts.includes(text)) parts.push(text);
      cause = cause instanceof Error ? cause.cause : undefined;
    }
    return parts.join("; caused by ");
  }

  /** Returns `error` itself if it is a ProxyError, else wraps it. */
  static wrap(error: unknown, type: ErrorType, context: string, source?: ErrorSource): ProxyError {
    if (error instanceof ProxyError) return source === undefined ? error : error.from(source);
    return new ProxyError(type, context, { cause: error, source: source ?? "unset" });
  }
}
