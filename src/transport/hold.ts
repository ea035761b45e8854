/**
 * Binds a port without accepting on it.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { formatAddress, type TcpAddress } from "./address.ts";
import { reason } from "./io_error.ts";
import { bindTcp } from "./listen.ts";

/** A port that is bound. Those who listen on it in this process share its accept queue. */
export interface HeldPort {
  /** With the actual port. */
  readonly address: TcpAddress;
  close(): void;
}

/**
 * Binds a port.
 *
 * @param name Of the listener, for messages.
 * @param backlog Connections that may wait in the kernel.
 * @throws {ProxyError} `bind_error`.
 */
export function holdPort(name: string, address: TcpAddress, backlog: number): HeldPort {
  try {
    const bound = bindTcp(address.host, address.port, backlog);
    const { port } = bound.addr as Deno.NetAddr;
    return { address: { ...address, port }, close: () => bound.close() };
  } catch (error) {
    throw new ProxyError(
      "bind_error",
      `Listener "${name}" cannot listen on ${formatAddress(address)}: ${reason(error)}`,
      { source: "internal", cause: error },
    );
  }
}
