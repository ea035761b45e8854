/**
 * Opens a connection to a peer, within the times that the peer allows: look-up, TCP or unix socket, the tunnel of a
 * proxy, the PROXY header, TLS.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { TcpAddress } from "../transport/address.ts";
import { type ConnectTimes, dial, type DialOptions, nodeFacts } from "../transport/dial.ts";
import { NodeSocket } from "../transport/node_socket.ts";
import type { HostResolver } from "../transport/resolver.ts";
import type { Socket, SocketEngine } from "../transport/socket.ts";
import { dialRaw, startTls } from "../transport/tls_dial.ts";
import { connectThrough } from "./connect_proxy.ts";
import type { Peer, UpstreamProtocol } from "./peer.ts";
import { proxyHeader } from "./proxy_protocol.ts";

/** What is offered by ALPN (RFC 7301, RFC 9113 §3.2), best first. */
const ALPN: Readonly<Record<UpstreamProtocol, readonly string[]>> = {
  h1: ["http/1.1"],
  h2: ["h2"],
  // Not offered over TLS (RFC 9113 §3.3).
  h2c: [],
  auto: ["h2", "http/1.1"],
};

/** How to open. */
export interface OpenOptions {
  readonly wheel: TimerWheel;
  /** What carries clear-text connections. */
  readonly clearTextEngine: SocketEngine;
  /** Gives up when it aborts, and closes what is half open. */
  readonly signal?: AbortSignal | undefined;
  /** Looks names up. Default: the resolver of the thread. */
  readonly resolver?: HostResolver | undefined;
  /** Is filled in. */
  readonly times?: ConnectTimes | undefined;
}

/**
 * Connects to a peer and, if it wants TLS, does the handshake.
 *
 * @throws {ProxyError} With source `upstream`, as `dial`, `connectThrough` and `tlsDial` throw; `connect_timeout` when
 * all steps together take too long; or what the signal gives as its reason.
 */
export async function openSocket(peer: Peer, options: OpenOptions): Promise<Socket> {
  const { wheel, signal } = options;
  const { totalConnectTimeout } = peer.options;
  const total = new AbortController();
  const deadline = new Deadline(() => {
    total.abort(
      new ProxyError(
        "connect_timeout",
        `Connecting to ${peer.label}: not done within ${totalConnectTimeout} ms`,
        { source: "upstream", retry: true },
      ),
    );
  });
  const giveUp = () => total.abort(signal?.reason);
  if (signal?.aborted) giveUp();
  signal?.addEventListener("abort", giveUp, { once: true });
  wheel.arm(deadline, totalConnectTimeout);
  try {
    return await openWithin(peer, options, total.signal);
  } catch (error) {
    throw ProxyError.wrap(error, "connect_error", `Connecting to ${peer.label}`, "upstream");
  } finally {
    wheel.cancel(deadline);
    signal?.removeEventListener("abort", giveUp);
  }
}

/** From the address that is asked for, or else from any. */
async function openWithin(
  peer: Peer,
  options: OpenOptions,
  signal: AbortSignal,
): Promise<Socket> {
  const { localAddress, localAddressFallback } = peer.options;
  try {
    return await open(peer, options, signal, localAddress);
  } catch (error) {
    const mayElsewhere = localAddress !== null && localAddressFallback &&
      error instanceof ProxyError && error.type === "bind_error";
    if (!mayElsewhere) throw error;
    return await open(peer, options, signal, null);
  }
}

async function open(
  peer: Peer,
  { clearTextEngine, resolver, times }: OpenOptions,
  signal: AbortSignal,
  localAddress: string | null,
): Promise<Socket> {
  const { connectTimeout, tlsTimeout, tcpKeepAlive, proxy, proxyProtocol } = peer.options;
  const how: DialOptions = {
    timeout: connectTimeout,
    localAddress,
    tcpKeepAlive,
    signal,
    resolver,
    times,
  };
  const header = proxyProtocol === null ? null : proxyHeader(proxyProtocol, peer.client);
  if (proxy === null && peer.tls === null) {
    const socket = await dial(peer.address, { ...how, engine: clearTextEngine });
    if (header !== null) socket.write(header);
    return socket;
  }
  const raw = await dialRaw(proxy?.address ?? peer.address, how);
  if (proxy !== null) {
    await connectThrough(raw, proxy, peer.address as TcpAddress, {
      timeout: connectTimeout,
      signal,
    });
  }
  if (header !== null) {
    raw.on("error", () => {});
    raw.write(header);
  }
  if (peer.tls !== null) {
    const alpn = ALPN[peer.options.protocol];
    return await startTls(raw, peer.address, peer.tls, { tlsTimeout, alpn, signal, times });
  }
  const unixPath = proxy?.address.kind === "unix" ? proxy.address.path : "";
  const socket = new NodeSocket(raw, nodeFacts(raw, unixPath));
  // Reading the proxy's answer has stopped it.
  raw.resume();
  return socket;
}
