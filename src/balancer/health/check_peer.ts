/**
 * The peer that a check connects to: that of the traffic, perhaps with a port of its own.
 *
 * @module
 */
import { createPeer, type Peer, type UpstreamProtocol } from "../../connector/peer.ts";
import type { CheckTarget } from "./check.ts";

/** How the peer of a check differs from that of the traffic. Plain data. */
export interface CheckPeerOptions {
  /** Port to check, or `0` for that of the member. Means nothing on a unix socket. */
  readonly port: number;
  /** `off`: clear text, also where traffic is encrypted. */
  readonly tls: "as_traffic" | "off";
}

/** How long a kept connection may wait for its next check, in milliseconds. */
const REUSE_TIMEOUT = 300_000;
/** The stages have no time of their own: that of the whole check is over first. */
const LONG = 2 ** 31 - 1;

/**
 * Makes the peers of checks, each once for as long as the peer of the traffic lives: TLS contexts hang on them.
 *
 * @param reuse Whether connections are kept for the next check.
 * @param http2 Whether HTTP/2 is spoken whatever the traffic speaks. Default `false`.
 */
export function checkPeers(
  config: CheckPeerOptions,
  reuse: boolean,
  http2: boolean = false,
): (target: CheckTarget) => Peer {
  const made = new WeakMap<Peer, Peer>();
  return ({ peer }) => {
    let own = made.get(peer);
    if (own === undefined) {
      const { address } = peer;
      const tls = config.tls === "off" ? null : peer.tls;
      own = createPeer({
        group: peer.group,
        address: config.port === 0 || address.kind === "unix"
          ? address
          : { ...address, port: config.port },
        tls,
        options: {
          ...peer.options,
          protocol: protocolOf(http2 ? "h2" : peer.options.protocol, tls !== null),
          // Checks must not stand in line behind one that hangs, and need no connection made ahead.
          maxConnections: 0,
          prewarm: 0,
          idleTimeout: reuse ? REUSE_TIMEOUT : 0,
          maxIdle: reuse ? 1 : 0,
          firstByteTimeout: LONG,
          readTimeout: LONG,
          writeTimeout: LONG,
        },
      });
      made.set(peer, own);
    }
    return own;
  };
}

/** The same version with or without TLS. */
function protocolOf(protocol: UpstreamProtocol, encrypted: boolean): UpstreamProtocol {
  if (protocol === "h2" && !encrypted) return "h2c";
  return protocol;
}

/** The authority of a peer: its name for TLS if it has one, as a client would know it by that. */
export function hostOf(peer: Peer): string {
  const { address, tls } = peer;
  if (address.kind === "unix") return tls?.serverName || "localhost";
  const host = tls?.serverName || address.host;
  const text = host.includes(":") ? `[${host}]` : host;
  return address.port === (tls === null ? 80 : 443) ? text : `${text}:${address.port}`;
}
