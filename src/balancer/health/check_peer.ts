/**
 * The peer that a check connects to: that of the traffic, perhaps with a port of its own.
 *
 * @module
 */
import { createPeer, type Peer, type PeerOptions } from "../../connector/peer.ts";
import type { CheckTarget } from "./check.ts";

/** How the peer of a check differs from that of the traffic. Plain data. */
export interface CheckPeerOptions {
  /** Port to check, or `0` for that of the member. Means nothing on a unix socket. */
  readonly port: number;
  /** `off`: clear text, also where traffic is encrypted. */
  readonly tls: "as_traffic" | "off";
}

/**
 * Makes the peers of checks, each once for as long as the peer of the traffic lives: TLS contexts hang on them.
 *
 * @param over Options over those of the traffic.
 */
export function checkPeers(
  config: CheckPeerOptions,
  over: Partial<PeerOptions>,
): (target: CheckTarget) => Peer {
  const made = new WeakMap<Peer, Peer>();
  return ({ peer }) => {
    let own = made.get(peer);
    if (own === undefined) {
      const { address } = peer;
      own = createPeer({
        group: peer.group,
        address: config.port === 0 || address.kind === "unix"
          ? address
          : { ...address, port: config.port },
        tls: config.tls === "off" ? null : peer.tls,
        // Checks must not stand in line behind one that hangs, and need no connection made ahead.
        options: { ...peer.options, maxConnections: 0, prewarm: 0, ...over },
      });
      made.set(peer, own);
    }
    return own;
  };
}
