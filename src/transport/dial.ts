/**
 * Opens a clear-text connection to an address.
 *
 * @module
 */
import { connect as netConnect, type Socket as NetSocket } from "node:net";
import { ProxyError } from "../base/error.ts";
import { type Address, formatAddress, type TcpAddress, unmapIpv4 } from "./address.ts";
import { attempt } from "./attempt.ts";
import { addressOf, DenoSocket } from "./deno_socket.ts";
import { dialHandle } from "./handle_dial.ts";
import { connectError } from "./io_error.ts";
import { handleEngineAvailable } from "./native_handle.ts";
import { NodeSocket } from "./node_socket.ts";
import { resolveHost } from "./resolve.ts";
import type { Socket } from "./socket.ts";

/** How to connect. */
export interface DialOptions {
  /** Milliseconds for all addresses of the host together; a look-up may take as long again. */
  readonly timeout: number;
  /**
   * Local IP address to connect from; default: the system chooses. Needs net access to its port 0, besides that to
   * the address.
   */
  readonly localAddress?: string | null;
  /**
   * Seconds of silence before TCP keep-alive probes, `0` for none. Default `0`. The engine `deno` can only switch
   * probes on: the seconds are then those of the system.
   */
  readonly tcpKeepAlive?: number;
  /** Gives up when it aborts. If its reason is a ProxyError, that is what is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** What carries the connection. `handle` falls back to `deno` where it is not available. Default `deno`. */
  readonly engine?: "deno" | "handle";
}

/**
 * Connects to an address; to a host with several addresses, to the first that answers.
 *
 * @throws {ProxyError} `connect_refused`, `connect_timeout`, `connect_no_route`, `connect_error`, `bind_error`,
 * `socket_error`, `dns_error`, `dns_timeout`; or what the signal gives as its reason.
 */
export function dial(address: Address, options: DialOptions): Promise<Socket> {
  if (address.kind === "unix") {
    return dialDeno({ transport: "unix", path: address.path }, address, 0, options);
  }
  if (options.localAddress) {
    return eachAddress(address, options, async (to, timeout) => {
      const raw = await dialNode(to, { ...options, timeout });
      return new NodeSocket(raw, nodeFacts(raw));
    });
  }
  const seconds = options.tcpKeepAlive ?? 0;
  if (options.engine === "handle" && handleEngineAvailable()) {
    return eachAddress(
      address,
      options,
      (to, timeout) => dialHandle(to, { timeout, tcpKeepAlive: seconds, signal: options.signal }),
    );
  }
  return eachAddress(
    address,
    options,
    (to, timeout) =>
      dialDeno({ hostname: to.host, port: to.port }, to, seconds, { ...options, timeout }),
  );
}

/**
 * Tries `one` for each address of a host until one succeeds. The time is shared out, so that a first address that
 * does not answer leaves some for the second.
 *
 * @throws {ProxyError} What the last one failed with.
 */
export async function eachAddress<T>(
  address: TcpAddress,
  options: { readonly timeout: number; readonly signal?: AbortSignal | undefined },
  one: (to: TcpAddress, timeout: number) => Promise<T>,
): Promise<T> {
  const { timeout, signal } = options;
  const hosts = await resolveHost(address.host, { timeout, signal });
  const end = performance.now() + timeout;
  let failure: unknown;
  for (const [index, host] of hosts.entries()) {
    const left = end - performance.now();
    if (left <= 0) break;
    try {
      return await one({ kind: "tcp", host, port: address.port }, left / (hosts.length - index));
    } catch (error) {
      if (signal?.aborted) throw error;
      failure = error;
    }
  }
  throw failure ?? new ProxyError(
    "connect_timeout",
    `Connecting to ${formatAddress(address)}: not done within ${timeout} ms`,
    { source: "upstream", retry: true },
  );
}

/** Connects by node's sockets, without the {@linkcode Socket} around it: TLS needs the bare one. */
export function dialNode(address: Address, options: DialOptions): Promise<NetSocket> {
  const context = `Connecting to ${formatAddress(address)}`;
  const seconds = options.tcpKeepAlive ?? 0;
  return attempt<NetSocket>({
    timeout: options.timeout,
    timeoutType: "connect_timeout",
    context,
    signal: options.signal,
  }, (end) => {
    if (options.localAddress) checkBindRight(options.localAddress, context);
    const raw = netConnect(
      address.kind === "unix" ? { path: address.path, allowHalfOpen: true } : {
        host: address.host,
        port: address.port,
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: seconds > 0,
        keepAliveInitialDelay: seconds * 1000,
        ...(options.localAddress ? { localAddress: options.localAddress } : {}),
      },
    );
    const onError = (error: Error) => {
      raw.destroy();
      end.reject(connectError(error, context));
    };
    raw.once("error", onError);
    raw.once("connect", () => {
      raw.off("error", onError);
      end.resolve(raw);
    });
    return () => {
      raw.off("error", onError);
      raw.on("error", () => {});
      raw.destroy();
    };
  });
}

/** node:net throws a missing right to bind where nobody can catch it, which would end the process. */
function checkBindRight(localAddress: string, context: string): void {
  const host = formatAddress({ kind: "tcp", host: localAddress, port: 0 });
  if (Deno.permissions.querySync({ name: "net", host }).state === "granted") return;
  throw new ProxyError("bind_error", `${context}: no net access to "${host}" to connect from`, {
    source: "internal",
  });
}

/** Who is at the ends of a node socket. */
export function nodeFacts(
  raw: NetSocket,
  path = "",
): { remote: Address; local: Address; tls: null } {
  if (raw.remoteAddress === undefined || raw.remotePort === undefined) {
    return { remote: { kind: "unix", path }, local: { kind: "unix", path: "" }, tls: null };
  }
  return {
    remote: { kind: "tcp", host: unmapIpv4(raw.remoteAddress), port: raw.remotePort },
    local: {
      kind: "tcp",
      host: unmapIpv4(raw.localAddress ?? ""),
      port: raw.localPort ?? 0,
    },
    tls: null,
  };
}

function dialDeno(
  to: Deno.ConnectOptions | Deno.UnixConnectOptions,
  address: Address,
  keepAlive: number,
  options: DialOptions,
): Promise<Socket> {
  const context = `Connecting to ${formatAddress(address)}`;
  return attempt<Socket>({
    timeout: options.timeout,
    timeoutType: "connect_timeout",
    context,
    signal: options.signal,
  }, (end) => {
    const cancel = new AbortController();
    let givenUp = false;
    connectDeno(to, cancel.signal).then((connection) => {
      if (givenUp) return connection.close();
      try {
        if ("setNoDelay" in connection) {
          connection.setNoDelay(true);
          if (keepAlive > 0) connection.setKeepAlive(true);
        }
        end.resolve(
          new DenoSocket(connection, {
            remote: address,
            local: addressOf(connection.localAddr),
            tls: null,
          }),
        );
      } catch (error) {
        // The other side may be gone again before the options are set.
        connection.close();
        end.reject(connectError(error, context));
      }
    }, (error) => end.reject(connectError(error, context)));
    return () => {
      givenUp = true;
      cancel.abort();
    };
  });
}

function connectDeno(
  to: Deno.ConnectOptions | Deno.UnixConnectOptions,
  signal: AbortSignal,
): Promise<Deno.TcpConn | Deno.UnixConn> {
  // A unix socket connects at once or not at all: there is nothing to cancel.
  return "path" in to ? Deno.connect(to) : Deno.connect({ ...to, signal });
}
