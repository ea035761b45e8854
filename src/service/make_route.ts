/**
 * Makes a route of the config ready, but for its plugins.
 *
 * @module
 */
import { WeightedSplit } from "../balancer/weighted_split.ts";
import type { RouteConfig } from "../config/types.ts";
import type { RouteTimeouts } from "../config/types_attempts.ts";
import { createPeer, type Peer, type PeerOptions } from "../connector/peer.ts";
import { makeModules } from "../modules/table.ts";
import { Mirror, type MirrorTools } from "../proxy/mirror.ts";
import { RetryPolicy } from "../proxy/retry_policy.ts";
import type { Route } from "../proxy/route.ts";
import { compileRule } from "../proxy/rules.ts";

/** Makes the parts of a route that do not depend on plugins. */
export function makeRoute(route: RouteConfig, tools: MirrorTools): Omit<Route, "plan"> {
  return {
    id: route.id,
    rules: route.rules.map(compileRule),
    modules: makeModules(route.modules),
    upstream: route.upstream,
    split: route.split && new WeightedSplit(route.split),
    mirrors: route.mirrors.map((settings) => new Mirror(settings, tools)),
    bodyBytes: route.bodyBytes,
    retry: new RetryPolicy(route.retry),
    hedge: route.hedge,
    requestTimeout: route.timeouts.request,
    grpcTimeout: route.timeouts.grpc,
    peerFor: peerWithTimeouts(route.timeouts),
  };
}

/** Peers with the timeouts of a route in place of their own; the same peer for the same peer. */
function peerWithTimeouts(timeouts: RouteTimeouts): (peer: Peer) => Peer {
  const { connect, responseHeader, read, write, tunnelIdle, tunnel } = timeouts;
  const over: Partial<PeerOptions> = {
    ...(connect === null
      ? {}
      : { connectTimeout: connect, tlsTimeout: connect, totalConnectTimeout: connect }),
    ...(responseHeader === null ? {} : { firstByteTimeout: responseHeader }),
    ...(read === null ? {} : { readTimeout: read }),
    ...(write === null ? {} : { writeTimeout: write }),
    ...(tunnelIdle === null ? {} : { tunnelIdleTimeout: tunnelIdle }),
    ...(tunnel === null ? {} : { tunnelTimeout: tunnel }),
  };
  if (Object.keys(over).length === 0) return (peer) => peer;
  const made = new WeakMap<Peer, Peer>();
  return (peer) => {
    let own = made.get(peer);
    if (own === undefined) {
      const { group, address, tls, options } = peer;
      own = createPeer({ group, address, tls, options: { ...options, ...over } });
      made.set(peer, own);
    }
    return own;
  };
}
