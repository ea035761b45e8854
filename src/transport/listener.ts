/**
 * What listening means, whatever accepts.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { Address } from "./address.ts";
import type { SocketSurgeon } from "./native_tls_socket.ts";
import type { Loan } from "./loan.ts";
import type { Admission } from "./connection_setup.ts";
import type { ProxyHeaderPolicy } from "./proxy_accept.ts";
import type { Socket, SocketEngine } from "./socket.ts";
import type { TlsServer } from "./tls_server.ts";
import type { UnixOwner } from "./unix_path.ts";

/** How to listen. */
export interface ListenOptions {
  /** For messages. */
  readonly name: string;
  /** Port `0` takes a free one; {@linkcode Listener.address} tells it, for the other workers to listen on too. */
  readonly address: Address;
  /** `handle` serves IP addresses only and falls back to `deno` elsewhere, or where it is missing. Default `deno`. */
  readonly engine?: SocketEngine;
  /** A descriptor of the socket that is bound there, for engine `handle` to listen on; it is used up. Default: none. */
  readonly loan?: Loan | null;
  /** Connections that wait in the kernel to be accepted, on TCP. Default 511. */
  readonly backlog?: number;
  /** Mode of a unix socket's file. Default `0o660`. */
  readonly unixMode?: number;
  /** Who owns it; `null`: whoever runs this. */
  readonly unixOwner?: UnixOwner | null;
  /** Whether a unix socket that somebody else listens on may be taken from him. Default `false`: that is an error. */
  readonly takeOver?: boolean;
  /** Connections at once; more are closed as soon as they are accepted. Default `0`: no limit. */
  readonly maxConnections?: number;
  /** Called for each connection, which is the callee's from then on. */
  onSocket(socket: Socket): void;
  /** Called when accepting fails, once until it succeeds again, and with what `onSocket` throws. */
  onError(error: ProxyError): void;
  /** Called for each connection that is closed before it comes to `onSocket`, for what it did or did not do. */
  onRefused?(error: ProxyError): void;
  /** Whose PROXY headers are believed. Default: nobody's. With them, or TLS, engine `handle` falls back to `deno`. */
  readonly proxyHeader?: ProxyHeaderPolicy | null;
  /** Says whether a client may come in, before TLS. Default: every client. */
  readonly admission?: Admission | null;
  /** Speaks TLS. Default: clear text. */
  readonly tls?: { readonly server: TlsServer; readonly engine: TlsEngine } | null;
  /** What closes the connections that engine `native` cannot close. Default: they keep their place until they go. */
  readonly surgeon?: SocketSurgeon | null;
}

/** What does the handshakes of a listener: the runtime's own TLS, or node's. */
export type TlsEngine = "native" | "node";

/** Something that listens. */
export interface Listener {
  readonly name: string;
  /** Where it listens, with the actual port. */
  readonly address: Address;
  readonly engine: SocketEngine;
  /** Connections accepted and not yet released. */
  readonly connectionCount: number;
  /** Connections accepted so far, those closed at once not counted. */
  readonly accepted: number;
  /** Connections closed at once because of `maxConnections`. */
  readonly rejected: number;
  /**
   * Lets nobody new come, and takes in who waits already; then it accepts no more. For listeners whose accept queue
   * nobody else has.
   */
  retire?(): Promise<void>;
  /** Stops accepting. Connections go on. */
  close(): void;
}
