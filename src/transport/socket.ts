/**
 * One connection as the codecs see it, whatever carries it.
 *
 * Engines differ (Deno.Conn, node:net, node:tls); codecs, pool and phases never know which. Reading is
 * asked for, one piece at a time, so a reader that does not ask is back-pressure by itself. The reader
 * owns the buffer, so bytes stay where they are until it reads over them, also across an await.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { Address } from "./address.ts";

/** What carries clear-text connections over TCP. */
export type SocketEngine = "deno" | "handle" | "epoll";

/** What an engine calls. All calls come from the event loop, never from inside `read()` or `write()`. */
export interface SocketHandler {
  /**
   * Where the next bytes go; asked once per `read()`, at once or when there are bytes, as the engine
   * likes. Must not be empty.
   *
   * @param arrived How many bytes are here and would be copied into it; left out where nobody knows yet.
   */
  readBuffer(arrived?: number): Uint8Array;
  /**
   * Whether the middle of a long content is read, so that an engine with a buffer of its own may read into that of the
   * handler instead. Left out: what came last decides.
   */
  readonly streaming?: boolean;
  /** `length` bytes are in the buffer; `0`: the other side has finished writing, and no more will come. */
  onRead(length: number): void;
  /** All that was written is with the kernel; the buffers given to `write` are free. */
  onDrain(): void;
  /** The connection broke or was closed. Called at most once, and never after `close()` or `destroy()`. */
  onError(error: ProxyError): void;
}

/** TLS facts of a connection. */
export interface TlsFacts {
  /** `TLSv1.3`, … */
  readonly version: string;
  /** The cipher suite, by its OpenSSL or IANA name. */
  readonly cipher: string;
  /** The name that the client asked for, or empty. */
  readonly serverName: string;
  /** The protocol agreed on by ALPN, or empty. */
  readonly alpn: string;
  /** Whether an earlier session was taken up again. */
  readonly resumed: boolean;
  /** The certificate that the other side has shown as a client, or `null`. Only good ones are accepted. */
  readonly certificate: ClientCertificate | null;
}

/** A certificate that a client has shown. */
export interface ClientCertificate {
  /** `CN=client, O=Example`; special characters in a value are escaped (RFC 4514). */
  readonly subject: string;
  /** Who has signed it, spelt alike. */
  readonly issuer: string;
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
  /** Hexadecimal digits. */
  readonly serialNumber: string;
  /** SHA-256 of the certificate, as 64 hexadecimal digits. */
  readonly fingerprint: string;
  /** From when it is good, in milliseconds since 1970. */
  readonly notBefore: number;
  /** Until when it is good, in milliseconds since 1970. */
  readonly notAfter: number;
  /** Whether it leads to a root of the listener, and its time has come and not gone. */
  readonly verified: boolean;
}

/** What the core knows of a TLS connection beyond what it tells. */
export interface ConnectionTls extends TlsFacts {
  /** Names that the certificate which we have shown is good for; `null` if we have shown none. */
  readonly ownNames: readonly string[] | null;
  /** The client's certificate and those above it, as DER. */
  readonly clientChain: readonly Uint8Array[];
}

/** A connection. */
export interface Socket {
  /** Who calls back. Set it before the first `read()`; may be changed while nothing is outstanding. */
  handler: SocketHandler;
  readonly remote: Address;
  readonly local: Address;
  readonly tls: ConnectionTls | null;
  /** The proxy that named `remote` in a PROXY header; else `remote` itself is at the other end. */
  readonly relay?: Address | undefined;
  /** Whether bytes are taken from the kernel as they come: asking for them costs nothing. Default `false`. */
  readonly readsAhead?: boolean;
  /** Whether `close` or `destroy` was called or the connection broke. */
  readonly closed: boolean;
  /** Bytes given to `write` that are not yet with the kernel. */
  readonly pending: number;
  /** Asks for one `onRead`. Does nothing while one is outstanding, or after the end was read. */
  read(): void;
  /**
   * Writes bytes, in order. The socket keeps `bytes` until it is written, so the caller must leave it alone.
   *
   * @param last Whether `closeWrite`, `close` or nothing follows: an engine that can sends the end in the same segment.
   * Default `false`.
   * @returns `true` if all of it is with the kernel and `bytes` is free at once; `false` if it waits:
   * `onDrain` follows.
   */
  write(bytes: Uint8Array, last?: boolean): boolean;
  /** Ends our direction after what is pending (TCP FIN); reading goes on. */
  closeWrite(): void;
  /** Closes after what is pending is written, but waits for that no longer than `ms` milliseconds. */
  close(ms?: number): void;
  /** Closes at once, dropping what is pending. */
  destroy(): void;
}
