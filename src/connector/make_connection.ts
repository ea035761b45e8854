/**
 * Makes connections to peers, in the version of HTTP that both sides speak.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { UpstreamLimits } from "../http/limits.ts";
import type { ConnectionFacts } from "../http/session.ts";
import type { ChunkLimits } from "../http1/limits.ts";
import { MAX_WINDOW } from "../http2/constants.ts";
import { HTTP2_LIMITS, type Http2Limits } from "../http2/limits.ts";
import { Http2UpstreamConnection } from "../http2/upstream_connection.ts";
import type { ConnectTimes } from "../transport/dial.ts";
import type { HostResolver } from "../transport/resolver.ts";
import type { Socket, SocketEngine } from "../transport/socket.ts";
import { PooledHttp1Connection } from "./http1_connection.ts";
import { openSocket } from "./open.ts";
import type { FullPeerOptions, Peer } from "./peer.ts";
import type { PoolableConnection } from "./pool.ts";

/** What connections are made with. */
export interface MakerOptions {
  readonly wheel: TimerWheel;
  readonly limits: UpstreamLimits;
  readonly chunkLimits: ChunkLimits;
  /** What carries clear-text connections. */
  readonly clearTextEngine: SocketEngine;
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
    const facts: ConnectionFacts = {
      id: ++lastId,
      remote: peer.address,
      local: socket.local,
      tls: socket.tls,
      since: performance.now(),
    };
    const { firstByteTimeout, readTimeout, writeTimeout } = peer.options;
    if (!speaksHttp2(peer, socket)) {
      const timeouts = { firstByteTimeout, readTimeout, writeTimeout };
      return new PooledHttp1Connection(socket, facts, { limits, chunkLimits, wheel, timeouts });
    }
    return await Http2UpstreamConnection.open(socket, facts, {
      limits: http2Limits(peer.options, limits),
      wheel,
      firstByteTimeout,
      readTimeout,
      informational: limits.informational,
      maxStreams: peer.options.http2.maxStreams,
      pingInterval: peer.options.http2.pingInterval,
      pingTimeout: peer.options.http2.pingTimeout,
    }, signal);
  };
}

/**
 * Whether HTTP/2 is spoken, by what both sides have agreed on.
 *
 * @throws {ProxyError} `tls_handshake_failure` if they have agreed on nothing that both speak. The socket is closed.
 */
function speaksHttp2({ options, label }: Peer, socket: Socket): boolean {
  const { protocol } = options;
  if (protocol === "h2c") return true;
  const alpn = socket.tls?.alpn ?? "";
  if (alpn === "h2" && protocol !== "h1") return true;
  if ((alpn === "" || alpn === "http/1.1") && protocol !== "h2") return false;
  socket.destroy();
  throw new ProxyError(
    "tls_handshake_failure",
    protocol === "h2"
      ? `Connecting to ${label}: it does not speak h2, by what it says in the TLS handshake (ALPN)`
      : `Connecting to ${label}: it wants to speak "${alpn}", which is not spoken here`,
    { source: "upstream", retry: true },
  );
}

/** The bounds of an HTTP/2 connection to a peer. */
export function http2Limits(
  { http2, writeTimeout }: FullPeerOptions,
  limits: UpstreamLimits,
): Http2Limits {
  const { maxStreams, settingsTimeout, streamWindow, connectionWindow } = http2;
  return {
    ...HTTP2_LIMITS,
    // An upstream opens no streams: push is forbidden.
    maxConcurrentStreams: 0,
    fields: limits.fields,
    headerListBytes: http2.headerListBytes,
    headerBlockBytes: http2.headerBlockBytes,
    headerStringBytes: http2.headerStringBytes,
    headerTableBytes: http2.headerTableBytes,
    continuations: http2.continuations,
    frameBytes: http2.frameBytes,
    streamWindow,
    connectionWindow: connectionWindow || Math.min(MAX_WINDOW, maxStreams * streamWindow),
    settingsTimeout,
    headerTimeout: settingsTimeout,
    writeTimeout,
    guard: http2.guard,
  };
}
