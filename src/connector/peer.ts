/**
 * Whom to connect to, and how.
 *
 * @module
 */
import { type Address, formatAddress } from "../transport/address.ts";

/** TLS towards a peer. */
export interface PeerTls {
  /** Name to ask for (SNI) and to check the certificate against. */
  readonly serverName: string;
  /** Another name that the certificate may bear instead. */
  readonly alternativeName: string | null;
  /** Whether the chain must lead to a trusted root. Only the operator can turn it off. */
  readonly verify: boolean;
  /** Whether the certificate must bear the name; needs `verify`. */
  readonly verifyHostname: boolean;
  /** Trusted roots as PEM; `null` for those of the system. */
  readonly ca: string | null;
  /** Our certificate chain and key as PEM, for mutual TLS. */
  readonly clientCertificate: { readonly cert: string; readonly key: string } | null;
}

/** How a peer is connected to and talked with. Times are milliseconds. */
export interface PeerOptions {
  /** For TCP alone. */
  readonly connectTimeout: number;
  /** For the TLS handshake alone. */
  readonly tlsTimeout: number;
  /** For name look-up, TCP and TLS together. */
  readonly totalConnectTimeout: number;
  /** From the end of the request to the first byte of the response head. */
  readonly firstByteTimeout: number;
  /** Between two pieces of the response. */
  readonly readTimeout: number;
  /** How long a write may wait for the peer to read. */
  readonly writeTimeout: number;
  /** How long an unused connection stays in the pool; `0`: it is not pooled. */
  readonly idleTimeout: number;
  /** Most idle connections to this peer in one service worker. */
  readonly maxIdle: number;
  /** Most connections to this peer in one service worker, busy and idle; `0`: no limit. */
  readonly maxConnections: number;
  /** Requests that may wait for one of `maxConnections`. */
  readonly maxPending: number;
  /** How long they wait. */
  readonly pendingTimeout: number;
  /** Local address to connect from, or `null`. */
  readonly localAddress: string | null;
  /** Seconds of silence before TCP keep-alive probes; `0`: off. */
  readonly tcpKeepAlive: number;
}

/** One address together with how to talk to it. */
export interface Peer {
  /** Name of the upstream group, or `null` for a peer that a plugin named. */
  readonly group: string | null;
  readonly address: Address;
  /** `formatAddress(address)`, kept because it is asked for per request. */
  readonly label: string;
  readonly tls: PeerTls | null;
  readonly options: PeerOptions;
  /** Two peers share connections exactly when their keys are equal. */
  readonly reuseKey: string;
}

export const PEER_OPTIONS: PeerOptions = {
  connectTimeout: 5_000,
  tlsTimeout: 5_000,
  totalConnectTimeout: 10_000,
  firstByteTimeout: 60_000,
  readTimeout: 60_000,
  writeTimeout: 30_000,
  idleTimeout: 60_000,
  maxIdle: 128,
  maxConnections: 0,
  maxPending: 1024,
  pendingTimeout: 5_000,
  localAddress: null,
  tcpKeepAlive: 60,
};

/** What {@linkcode createPeer} takes. */
export interface PeerParts {
  readonly group?: string | null;
  readonly address: Address;
  readonly tls?: PeerTls | null;
  readonly options?: PeerOptions;
}

/** Makes a peer and its reuse key. */
export function createPeer(parts: PeerParts): Peer {
  const { group = null, address, tls = null, options = PEER_OPTIONS } = parts;
  return {
    group,
    address,
    label: formatAddress(address),
    tls,
    options,
    // Whatever changes trust or route must be in here, and what a connection, or the limit on their number, is made
    // with. JSON keeps the parts apart, whatever they hold.
    reuseKey: JSON.stringify([
      address,
      options.localAddress,
      options.firstByteTimeout,
      options.readTimeout,
      options.writeTimeout,
      options.maxConnections,
      tls && [
        tls.serverName,
        tls.alternativeName,
        tls.verify,
        tls.verifyHostname,
        tls.ca,
        tls.clientCertificate?.cert,
        tls.clientCertificate?.key,
      ],
    ]),
  };
}
