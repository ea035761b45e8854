/**
 * The peer of a choice as this request reaches it: with the timeouts of its route, on behalf of its client.
 *
 * @module
 */
import { type Peer, peerFor } from "../connector/peer.ts";
import type { Exchange } from "./exchange.ts";
import type { Choice } from "./upstreams.ts";

/** Whom to connect to for a choice. */
export function choicePeer(exchange: Exchange, choice: Choice): Peer {
  const peer = exchange.route!.peerFor(choice.peer);
  if (peer.options.proxyProtocol === null) return peer;
  const { remote, local } = exchange.downstream.connection;
  return peerFor(peer, { source: remote, destination: local });
}
