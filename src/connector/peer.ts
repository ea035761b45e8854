/**
 * Whom to connect to, and how.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { type Address, formatAddress } from "../transport/address.ts";
import { HTTP2_PEER_OPTIONS, type Http2PeerOptions } from "./http2_options.ts";
import type { TlsVersion } from "../transport/tls_dial.ts";
import type { ProxiedClient } from "./proxy_protocol.ts";

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
  /** Lowest version to agree to. Default: TLS 1.2. */
  readonly minVersion?: TlsVersion;
  /** Highest version to agree to. Default: TLS 1.3. */
  readonly maxVersion?: TlsVersion;
}

/** What is spoken with a peer. */
export const UPSTREAM_PROTOCOLS = [
  /** HTTP/1.1. */
  "h1",
  /** HTTP/2 over TLS. */
  "h2",
  /** HTTP/2 in clear text, by prior knowledge (RFC 9113 §3.3). */
  "h2c",
  /** Over TLS whichever of the two the peer chooses by ALPN, in clear text HTTP/1.1. */
  "auto",
] as const;

/** One of {@linkcode UPSTREAM_PROTOCOLS}. */
export type UpstreamProtocol = typeof UPSTREAM_PROTOCOLS[number];

/** A proxy between us and the peer, which makes the connection for us when asked by CONNECT (RFC 9110 §9.3.6). */
export interface OuterProxy {
  readonly address: Address;
  /** Sent with CONNECT and nowhere else, such as `Proxy-Authorization`. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/**
 * How a peer is connected to and talked with. Times are milliseconds. What may be left out has its default in
 * {@linkcode PEER_OPTIONS}.
 */
export interface PeerOptions {
  /** For TCP alone; through a proxy, as long again for its answer. */
  readonly connectTimeout: number;
  /** For the TLS handshake alone. */
  readonly tlsTimeout: number;
  /** For name look-up, TCP, proxy and TLS together. */
  readonly totalConnectTimeout: number;
  /** From the end of the request to the first byte of the response head. */
  readonly firstByteTimeout: number;
  /** Between two pieces of the response. */
  readonly readTimeout: number;
  /** How long a write may wait for the peer to read. */
  readonly writeTimeout: number;
  /** How long a tunnel may be silent in both directions; `0`: no limit. Default 5 minutes. */
  readonly tunnelIdleTimeout?: number;
  /** How long a tunnel may last; `0`: no limit. Default `0`. */
  readonly tunnelTimeout?: number;
  /** How long an unused connection stays in the pool; `0`: it is not pooled. */
  readonly idleTimeout: number;
  /** Most idle connections to this peer in one service worker. */
  readonly maxIdle: number;
  /**
   * Most connections to this peer in one service worker, busy and idle; `0`: no limit. HTTP/2 connections that only
   * finish what they carry do not count.
   */
  readonly maxConnections: number;
  /** Requests that may wait for one of `maxConnections`. */
  readonly maxPending: number;
  /** How long they wait. */
  readonly pendingTimeout: number;
  /** Local address to connect from, or `null`. */
  readonly localAddress: string | null;
  /** Seconds of silence before TCP keep-alive probes; `0`: off. */
  readonly tcpKeepAlive: number;
  /** Whether to connect from any other address if `localAddress` cannot be used. Default `false`. */
  readonly localAddressFallback?: boolean;
  /** How old a connection may be and still carry another request; `0`: no limit. Default `0`. */
  readonly maxAge?: number;
  /** Requests that one connection may carry; `0`: no limit. Default `0`. */
  readonly maxRequests?: number;
  /** Idle connections to keep ready while `Connector.keepWarm` is asked to; at most 64. Default `0`. */
  readonly prewarm?: number;
  /** Peers share connections only with those of the same key. Default: none. */
  readonly groupKey?: string | null;
  /** A proxy to go through. Default: none. */
  readonly proxy?: OuterProxy | null;
  /**
   * Version of the PROXY protocol in which every connection begins by saying for whom it is made. It is used again
   * only for the same client. Default: none.
   */
  readonly proxyProtocol?: "v1" | "v2" | null;
  /** What is spoken. Default `h1`. */
  readonly protocol?: UpstreamProtocol;
  /** How HTTP/2 is spoken. Defaults: {@linkcode HTTP2_PEER_OPTIONS}. */
  readonly http2?: Partial<Http2PeerOptions>;
}

/** Options with all their defaults filled in. */
export type FullPeerOptions = Required<Omit<PeerOptions, "http2">> & {
  readonly http2: Http2PeerOptions;
};

/** One address together with how to talk to it. */
export interface Peer {
  /** Name of the upstream group, or `null` for a peer that a plugin named. */
  readonly group: string | null;
  readonly address: Address;
  /** `formatAddress(address)`, kept because it is asked for per request. */
  readonly label: string;
  readonly tls: PeerTls | null;
  readonly options: FullPeerOptions;
  /** Two peers share connections, and the limits on their number, exactly when their keys are equal. */
  readonly reuseKey: string;
  /** Whether one connection may turn out to carry many requests at a time. */
  readonly mayShare: boolean;
  /**
   * The same peer for what HTTP/2 cannot carry there: a protocol to switch to, or whatever it wants HTTP/1.1 for. Its
   * connections, and the limits on their number, are apart. `null` unless the peer may speak both.
   */
  readonly http1: Peer | null;
  /** For whom a connection with a PROXY header is made; see {@linkcode peerFor}. */
  readonly client: ProxiedClient | null;
  /** With `proxyProtocol`: who may share a connection of this `reuseKey`. Else empty. */
  readonly clientKey: string;
}

export const PEER_OPTIONS: FullPeerOptions = {
  connectTimeout: 5_000,
  tlsTimeout: 5_000,
  totalConnectTimeout: 10_000,
  firstByteTimeout: 60_000,
  readTimeout: 60_000,
  writeTimeout: 30_000,
  tunnelIdleTimeout: 300_000,
  tunnelTimeout: 0,
  idleTimeout: 60_000,
  maxIdle: 512,
  maxConnections: 0,
  maxPending: 1024,
  pendingTimeout: 5_000,
  localAddress: null,
  tcpKeepAlive: 60,
  localAddressFallback: false,
  maxAge: 0,
  maxRequests: 0,
  prewarm: 0,
  groupKey: null,
  proxy: null,
  proxyProtocol: null,
  protocol: "h1",
  http2: HTTP2_PEER_OPTIONS,
};

/** What {@linkcode createPeer} takes. */
export interface PeerParts {
  readonly group?: string | null;
  readonly address: Address;
  readonly tls?: PeerTls | null;
  readonly options?: PeerOptions;
}

/**
 * Makes a peer and its reuse key.
 *
 * @throws {ProxyError} `config_error` if a unix socket is to be reached through a proxy, which has no way to name it;
 * or if `h2` is wanted without TLS, or `h2c` with it.
 */
export function createPeer(parts: PeerParts): Peer {
  const { group = null, address, tls = null } = parts;
  const options: FullPeerOptions = {
    ...PEER_OPTIONS,
    ...parts.options,
    http2: { ...HTTP2_PEER_OPTIONS, ...parts.options?.http2 },
  };
  const { proxy, protocol } = options;
  if (proxy !== null && address.kind === "unix") {
    throw refusal(address, "a unix socket cannot be reached through a proxy");
  }
  if (protocol === "h2" && tls === null) throw refusal(address, "h2 needs TLS; without it, h2c");
  if (protocol === "h2c" && tls !== null) throw refusal(address, "h2c is clear text; with TLS, h2");
  const mayBoth = protocol === "auto" && tls !== null;
  const mayShare = mayBoth || protocol === "h2" || protocol === "h2c";
  const peer: Peer = {
    group,
    address,
    label: formatAddress(address),
    tls,
    options,
    mayShare,
    reuseKey: makeReuseKey(address, tls, options, mayShare),
    http1: null,
    client: null,
    clientKey: "",
  };
  if (!mayBoth) return peer;
  // The same identity, so that the TLS context, which hangs on it, is the same as well.
  return { ...peer, http1: createPeer({ ...parts, options: { ...options, protocol: "h1" } }) };
}

/**
 * Whatever changes trust or route must be in here, and what a connection, or the limit on their number, is made with.
 * JSON keeps the parts apart, whatever they hold.
 */
function makeReuseKey(
  address: Address,
  tls: PeerTls | null,
  options: FullPeerOptions,
  mayShare: boolean,
): string {
  const { proxy } = options;
  return JSON.stringify([
    address,
    options.groupKey,
    options.localAddress,
    options.localAddressFallback,
    options.tcpKeepAlive,
    options.firstByteTimeout,
    options.readTimeout,
    options.writeTimeout,
    options.maxConnections,
    options.proxyProtocol,
    proxy && [proxy.address, proxy.headers],
    tls && [
      tls.serverName,
      tls.alternativeName,
      tls.verify,
      tls.verifyHostname,
      tls.ca,
      tls.clientCertificate?.cert,
      tls.clientCertificate?.key,
      tls.minVersion,
      tls.maxVersion,
    ],
    // Who speaks nothing but HTTP/1 shares its connections, however that came about.
    mayShare && [options.protocol, options.http2],
  ]);
}

function refusal(address: Address, why: string): ProxyError {
  return new ProxyError("config_error", `Peer ${formatAddress(address)}: ${why}`, {
    source: "internal",
  });
}

/**
 * The peer as it is to be reached on behalf of a client. Unless the peer wants the PROXY protocol, that is the peer
 * itself.
 *
 * @param client Both ends of the client's connection.
 */
export function peerFor(peer: Peer, client: ProxiedClient): Peer {
  if (peer.options.proxyProtocol === null) return peer;
  const clientKey = `${formatAddress(client.source)} ${formatAddress(client.destination)}`;
  const { http1 } = peer;
  return { ...peer, client, clientKey, http1: http1 && { ...http1, client, clientKey } };
}
