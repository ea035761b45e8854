/**
 * Binds a port without accepting on it.
 *
 * @module
 */
import process from "node:process";
import { ProxyError } from "../base/error.ts";
import { formatAddress, type TcpAddress, type UnixAddress } from "./address.ts";
import { bindUnheard } from "./bind_unheard.ts";
import { bindHandle } from "./handle_listener.ts";
import { reason } from "./io_error.ts";
import { bindTcp } from "./listen.ts";
import { bindUnix } from "./unix_path.ts";

/** A port that is bound. */
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
    const bound = bindUnheard(() => bindTcp(address.host, address.port, backlog));
    const { port, hostname } = bound.addr as Deno.NetAddr;
    const actual: TcpAddress = { ...address, port };
    return { address: actual, bound: actual, ip: hostname, close: () => bound.close() };
  } catch (error) {
    throw new ProxyError(
      "bind_error",
      `Listener "${name}" cannot listen on ${formatAddress(address)}: ${reason(error)}${
        lowPort(address, error)
      }`,
      { source: "internal", cause: error },
    );
  }
}

/**
 * Binds a port for listeners of engine `handle`, each of which has an accept queue of its own: where no descriptors can
 * be given to them.
 *
 * @param name Of the listener, for messages.
 * @throws {ProxyError} `bind_error`.
 */
export function holdHandlePort(name: string, address: TcpAddress): HeldPort {
  try {
    // Others that share their ports would let us in without a word.
    if (address.port !== 0) {
      Deno.listen({ hostname: address.host, port: address.port }).close();
    }
    const held = bindHandle(address);
    const actual: TcpAddress = { ...address, port: held.port };
    return { address: actual, bound: actual, ip: address.host, close: () => held.close() };
  } catch (error) {
    throw new ProxyError(
      "bind_error",
      `Listener "${name}" cannot listen on ${formatAddress(address)}: ${reason(error)}${
        lowPort(address, error)
      }`,
      { source: "internal", cause: error },
    );
  }
}

/** What there is to say of a port that only root may bind. */
function lowPort({ port }: TcpAddress, error: unknown): string {
  const user = process.getuid?.();
  if (!(error instanceof Deno.errors.PermissionDenied) || port >= 1024 || user === 0) return "";
  return `: the system keeps low ports for root, and this process runs as user ${user}. ` +
    "If server.user has made it so, restart it: a reload cannot bind them. " +
    "Otherwise start it as root with server.user, or with the capability CAP_NET_BIND_SERVICE";
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
