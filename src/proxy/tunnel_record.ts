/**
 * What is known of a tunnel when it is over.
 *
 * @module
 */

/**
 * Why a tunnel is over: who closed first, or broke off; that nobody said anything for `tunnel_idle`, or that it had
 * lasted for `tunnel`; or that the program stops.
 */
export type TunnelEnd =
  | "client_closed"
  | "upstream_closed"
  | "client_broke"
  | "upstream_broke"
  | "idle_timeout"
  | "timeout"
  | "shutdown";

/** What became of a tunnel. */
export interface TunnelRecord {
  /** The protocol in it, lower case: `websocket`; `connect` if nobody named one. */
  readonly protocol: string;
  /** Bytes from the client to the upstream. */
  received: number;
  /** Bytes from the upstream to the client. */
  sent: number;
  /** `null` while it is open. */
  end: TunnelEnd | null;
}
