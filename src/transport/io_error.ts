/**
 * What the runtime throws about I/O, as {@linkcode ProxyError}. The only place that knows those names.
 *
 * Codes are the errno names that Deno and node both put on their errors.
 *
 * @module
 */
import { type ErrorType, ProxyError } from "../base/error.ts";

const CONNECT_TYPES: Readonly<Record<string, ErrorType>> = {
  ECONNREFUSED: "connect_refused",
  ETIMEDOUT: "connect_timeout",
  ENETUNREACH: "connect_no_route",
  EHOSTUNREACH: "connect_no_route",
  ENETDOWN: "connect_no_route",
  EHOSTDOWN: "connect_no_route",
  EADDRNOTAVAIL: "bind_error",
  EADDRINUSE: "bind_error",
  EMFILE: "socket_error",
  ENFILE: "socket_error",
  ENOBUFS: "socket_error",
};

/** Codes that mean that the other side is gone, rather than that reading or writing went wrong. */
const GONE = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED", "ENOTCONN", "ESHUTDOWN"]);

/** OpenSSL's names for the alerts by which a handshake, or a certificate in it, is refused. */
const HANDSHAKE_ALERT =
  /^ERR_SSL_\w*ALERT_(?:\w*CERTIFICATE\w*|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE|PROTOCOL_VERSION|DECRYPT_ERROR)$/;

/** The errno name that an error carries, or an empty string. */
export function errorCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

/** Whether the process or the system has no file descriptor left; waiting may help, trying again at once does not. */
export function isDescriptorShortage(error: unknown): boolean {
  const code = errorCode(error);
  if (code === "EMFILE" || code === "ENFILE" || code === "ENOBUFS" || code === "ENOMEM") {
    return true;
  }
  // `Deno.Listener.accept` gives a plain Error whose message alone tells.
  return error instanceof Error && /os error (?:23|24)\b/.test(error.message);
}

/** Whether the name was not found: `Deno.connect` looks it up itself, and gives a plain Error. */
function isLookupFailure(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("failed to lookup address");
}

/** A connection that could not be made. Nothing was sent, so trying again is safe. */
export function connectError(error: unknown, context: string): ProxyError {
  if (error instanceof ProxyError) return error.from("upstream");
  const type = isDescriptorShortage(error)
    ? "socket_error"
    : error instanceof Error && "syscall" in error && error.syscall === "bind"
    ? "bind_error"
    : isLookupFailure(error)
    ? "dns_error"
    : CONNECT_TYPES[errorCode(error)] ?? "connect_error";
  return new ProxyError(type, `${context}: ${reason(error)}`, {
    source: "upstream",
    retry: true,
    cause: error,
  });
}

/** Reading from a connection failed. */
export function readError(error: unknown): ProxyError {
  return streamError(error, "read_error", "Reading from a connection");
}

/** Writing to a connection failed. */
export function writeError(error: unknown): ProxyError {
  return streamError(error, "write_error", "Writing to a connection");
}

/** The error for what a socket's handler threw: a bug of ours, which costs that one connection. */
export function handlerError(error: unknown): ProxyError {
  return new ProxyError("internal_error", `Handling a connection: ${reason(error)}`, {
    source: "internal",
    cause: error,
  });
}

/** The error of an attempt that its signal ended. */
export function abortError(signal: AbortSignal, context: string): ProxyError {
  if (signal.reason instanceof ProxyError) return signal.reason;
  return new ProxyError("connect_error", `${context}: given up`, {
    source: "internal",
    cause: signal.reason,
  });
}

/** What an error says, for the end of a message. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

function streamError(error: unknown, type: ErrorType, context: string): ProxyError {
  if (error instanceof ProxyError) return error;
  // In TLS 1.3 a side may learn only after its handshake that the other did not accept it (RFC 8446 §4.6.2).
  if (HANDSHAKE_ALERT.test(errorCode(error))) {
    return new ProxyError("tls_handshake_failure", `${context}: refused by TLS: ${reason(error)}`, {
      cause: error,
    });
  }
  return GONE.has(errorCode(error))
    ? new ProxyError("connection_closed", `${context}: the other side has closed it`, {
      cause: error,
    })
    : new ProxyError(type, `${context}: ${reason(error)}`, { cause: error });
}
