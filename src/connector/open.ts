/**
 * Opens a connection to a peer, within the times that the peer allows.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import { dial } from "../transport/dial.ts";
import type { Socket } from "../transport/socket.ts";
import { tlsDial } from "../transport/tls_dial.ts";
import type { Peer } from "./peer.ts";

/** How to open. */
export interface OpenOptions {
  readonly wheel: TimerWheel;
  /** What carries clear-text connections. */
  readonly clearTextEngine: "deno" | "handle";
  /** Gives up when it aborts, and closes what is half open. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects to a peer and, if it wants TLS, does the handshake.
 *
 * @throws {ProxyError} With source `upstream`, as `dial` and `tlsDial` throw; `connect_timeout` when look-up, TCP and
 * TLS together take too long; or what the signal gives as its reason.
 */
export async function openSocket(peer: Peer, options: OpenOptions): Promise<Socket> {
  const { wheel, signal } = options;
  const { connectTimeout, tlsTimeout, totalConnectTimeout, localAddress, tcpKeepAlive } =
    peer.options;
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
  const how = { timeout: connectTimeout, localAddress, tcpKeepAlive, signal: total.signal };
  try {
    return peer.tls === null
      ? await dial(peer.address, { ...how, engine: options.clearTextEngine })
      : await tlsDial(peer.address, peer.tls, { ...how, tlsTimeout });
  } catch (error) {
    throw ProxyError.wrap(error, "connect_error", `Connecting to ${peer.label}`, "upstream");
  } finally {
    wheel.cancel(deadline);
    signal?.removeEventListener("abort", giveUp);
  }
}
