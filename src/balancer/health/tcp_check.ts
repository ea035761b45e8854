/**
 * Healthy is what can be connected to; with TLS, what also completes the handshake.
 *
 * @module
 */
import { openSocket } from "../../connector/open.ts";
import type { Run } from "./bounded_run.ts";
import type { CheckTarget, HealthCheck } from "./check.ts";
import { type CheckPeerOptions, checkPeers } from "./check_peer.ts";
import type { ExchangeTools } from "./http_exchange.ts";

/** Settings of a TCP check. Plain data. */
export interface TcpCheckConfig extends CheckPeerOptions {
  readonly type: "tcp";
}

/** What a TCP check does where nothing else is said. */
export const TCP_CHECK: TcpCheckConfig = { type: "tcp", port: 0, tls: "as_traffic" };

/** Connects, and closes again without a word. */
export class TcpCheck implements HealthCheck {
  readonly #tools: ExchangeTools;
  readonly #peerOf: (target: CheckTarget) => CheckTarget["peer"];

  constructor(config: TcpCheckConfig, tools: ExchangeTools) {
    this.#tools = tools;
    this.#peerOf = checkPeers(config, false);
  }

  async check(target: CheckTarget, run: Run): Promise<void> {
    run.timeoutType = "connect_timeout";
    const { wheel, clearTextEngine, resolver } = this.#tools;
    const socket = await openSocket(this.#peerOf(target), {
      wheel,
      clearTextEngine,
      signal: run.signal,
      resolver,
    });
    socket.destroy();
  }

  close(): void {}
}
