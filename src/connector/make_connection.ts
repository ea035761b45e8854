/**
 * Makes connections to peers, in the version of HTTP that both sides speak.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamLimits } from "../http/limits.ts";
import type { ChunkLimits } from "../http1/limits.ts";
import type { ConnectTimes } from "../transport/dial.ts";
import type { HostResolver } from "../transport/resolver.ts";
import { PooledHttp1Connection } from "./http1_connection.ts";
import { openSocket } from "./open.ts";
import type { Peer } from "./peer.ts";
import type { PoolableConnection } from "./pool.ts";

/** What connections are made with. */
export interface MakerOptions {
  readonly wheel: TimerWheel;
  readonly limits: UpstreamLimits;
  readonly chunkLimits: ChunkLimits;
  /** What carries clear-text connections. */
  readonly clearTextEngine: "deno" | "handle";
  /** Looks names up. Default: the resolver of the thread. */
  readonly resolver?: HostResolver;
}

/** Makes an idle connection to a peer, and fills `times` in. Closes what is half open when the signal aborts. */
export type OpenConnection = (
  peer: Peer,
  signal: AbortSignal,
  times: ConnectTimes,
) => Promise<PoolableConnection>;

/** The usual way to make connections: over TCP, TLS or a unix socket. */
export function connectionMaker(options: MakerOptions): OpenConnection {
  let lastId = 0;
  return async (peer, signal, times) => {
    const { wheel, limits, chunkLimits, clearTextEngine, resolver } = options;
    const socket = await openSocket(peer, { wheel, clearTextEngine, signal, resolver, times });
    const alpn = socket.tls?.alpn ?? "";
    if (alpn !== "" && alpn !== "http/1.1") {
      socket.destroy();
      throw new ProxyError(
        "tls_handshake_failure",
        `Connecting to ${peer.label}: it wants to speak "${alpn}", which is not spoken here`,
        { source: "upstream", retry: true },
      );
    }
    const { firstByteTimeout, readTimeout, writeTimeout } = peer.options;
    return new PooledHttp1Connection(socket, {
      id: ++lastId,
      remote: peer.address,
      local: socket.local,
      tls: socket.tls,
      since: performance.now(),
    }, {
      limits,
      chunkLimits,
      wheel,
      timeouts: { firstByteTimeout, readTimeout, writeTimeout },
    });
  };
}
