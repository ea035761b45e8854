/**
 * How a member of an upstream is reached: for traffic and for checks alike.
 *
 * @module
 */
import type { Endpoint } from "../balancer/backend.ts";
import { createPeer, type Peer } from "../connector/peer.ts";
import type { UpstreamConfig } from "./types_upstreams.ts";

/** The peer of an endpoint of an upstream. */
export function endpointPeer(upstream: UpstreamConfig, { address }: Endpoint): Peer {
  const { name, tls, options } = upstream;
  // A name to check is not asked of the operator when the address already is one.
  const named = tls !== null && tls.serverName === "" && address.kind === "tcp"
    ? { ...tls, serverName: address.host }
    : tls;
  return createPeer({ group: name, address, tls: named, options });
}
