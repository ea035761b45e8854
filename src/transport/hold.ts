/**
 * Binds a port without accepting on it.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { formatAddress, type TcpAddress, type UnixAddress } from "./address.ts";
import { reason } from "./io_error.ts";
import { bindTcp } from "./listen.ts";
import { bindUnix } from "./unix_path.ts";

/** A port that is bound. Those who listen on it in this process share its accept queue. */
export interface HeldPort {
  /** With the actual port. */
  readonly address: TcpAddress;
  /** By which it is listened on in this process. */
  readonly bound: TcpAddress;
  /** The IP address that a host name stood for. */
  readonly ip: string;
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
    const { port, hostname } = bound.addr as Deno.NetAddr;
    const actual: TcpAddress = { ...address, port };
    return { address: actual, bound: actual, ip: hostname, close: () => bound.close() };
  } catch (error) {
    throw new ProxyError(
      "bind_error",
      `Listener "${name}" cannot listen on ${formatAddress(address)}: ${reason(error)}`,
      { source: "internal", cause: error },
    );
  }
}

/**
 * Makes sure that a unix socket can be bound, by doing so for a moment.
 *
 * @param name Of the listener, for messages.
 * @throws {ProxyError} `bind_error`.
 */
export async function checkUnixPath(name: string, address: UnixAddress): Promise<void> {
  try {
    const { listener, release } = await bindUnix(address.path, { mode: 0o600 });
    listener.close();
    release();
  } catch (error) {
    throw new ProxyError(
      "bind_error",
      `Listener "${name}" cannot listen on ${formatAddress(address)}: ${reason(error)}`,
      { source: "internal", cause: error },
    );
  }
}
