/**
 * The TLS of the listeners of a service worker: what they show, which engine shows it, and what closes for them.
 *
 * @module
 */
import type { ListenerCredentials } from "../config/credentials.ts";
import type { ListenerConfig } from "../config/types.ts";
import { prepare } from "../transport/certificate.ts";
import type { ConnectionEnds } from "../transport/kernel_sockets.ts";
import type { TlsEngine } from "../transport/listener.ts";
import type { SocketSurgeon } from "../transport/native_tls_socket.ts";
import { type CertificateFinder, type TlsCredentials, TlsServer } from "../transport/tls_server.ts";

/** What a worker has to know of TLS beyond its config. Plain data. */
export interface TlsState {
  /** What the files hold by now, by listener. */
  readonly credentials: Readonly<Record<string, ListenerCredentials>>;
  /** The engine of each listener that has TLS. */
  readonly engines: Readonly<Record<string, TlsEngine>>;
  /** Whether the server cuts connections for its workers. */
  readonly surgery: boolean;
}

/** Milliseconds for which connections to be cut are gathered: finding them is the same work for one and for many. */
const GATHER = 100;

/** TLS servers by listener. */
export class TlsListeners {
  /** By which listeners are opened from now on. */
  state: TlsState;
  readonly #servers = new Map<string, TlsServer>();
  /** Cuts connections that engine `native` cannot close; `null` where nobody can. */
  readonly surgeon: SocketSurgeon | null;

  /** @param cut Asks the server to cut connections. */
  constructor(state: TlsState, cut: (connections: readonly ConnectionEnds[]) => void) {
    this.state = state;
    this.surgeon = state.surgery ? gatheringSurgeon(cut) : null;
  }

  /**
   * The TLS of a listener; `null` if it has none.
   *
   * @param find Finds certificates that are not among its own.
   * @throws {CertificateError} If its certificates cannot be used.
   */
  add(
    { name, tls }: ListenerConfig,
    find: CertificateFinder | null,
  ): { readonly server: TlsServer; readonly engine: TlsEngine } | null {
    if (tls === null) return null;
    const server = new TlsServer({ ...tls, find }, readied(this.state.credentials[name]!));
    this.#servers.set(name, server);
    return { server, engine: this.state.engines[name]! };
  }

  /** The engine that a listener is to have; `null` without TLS. */
  engineOf(name: string): TlsEngine | null {
    return this.state.engines[name] ?? null;
  }

  /** A listener shows what the state says. Returns whether its clients are asked for something else. */
  refresh(name: string): boolean {
    const credentials = this.state.credentials[name];
    return credentials !== undefined && this.replace(name, credentials);
  }

  /** The files of a listener hold something else now. Returns whether its clients are asked for something else. */
  replace(name: string, credentials: ListenerCredentials): boolean {
    return this.#servers.get(name)?.replace(readied(credentials)) ?? false;
  }
}

function readied({ certificates, clientAuth, hostAuth }: ListenerCredentials): TlsCredentials {
  return { certificates: certificates.map(prepare), clientAuth, hostAuth };
}

function gatheringSurgeon(cut: (connections: readonly ConnectionEnds[]) => void): SocketSurgeon {
  let gathered: ConnectionEnds[] = [];
  return {
    cut(local, remote) {
      if (gathered.length === 0) {
        setTimeout(() => {
          cut(gathered);
          gathered = [];
        }, GATHER);
      }
      gathered.push({ local, remote });
    },
  };
}
