/**
 * Opens a clear-text connection to an address.
 *
 * @module
 */
import { connect as netConnect, isIP, type Socket as NetSocket } from "node:net";
import { ProxyError } from "../base/error.ts";
import { type Address, formatAddress, type TcpAddress, unmapIpv4 } from "./address.ts";
import { attempt } from "./attempt.ts";
import { addressOf, DenoSocket } from "./deno_socket.ts";
import { dialEpoll } from "./epoll/epoll_dial.ts";
import { epollLoop } from "./epoll/loop.ts";
import { dialHandle } from "./handle_dial.ts";
import { interleave, race } from "./happy_eyeballs.ts";
import { connectError } from "./io_error.ts";
import { handleEngineAvailable } from "./native_handle.ts";
import { NodeSocket } from "./node_socket.ts";
import { hostResolver } from "./resolve.ts";
import type { HostResolver } from "./resolver.ts";
import { mayReach, mayReachAll } from "./rights.ts";
import type { Socket, SocketEngine } from "./socket.ts";

/** How long the steps of connecting took, in milliseconds; `0`: there was no such step, or not yet. */
export interface ConnectTimes {
  /** Name look-up. */
  lookup: number;
  /** TCP, or the unix socket. */
  connect: number;
  /** The handshake. */
  tls: number;
}

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
  readonly engine?: SocketEngine;
  /** Looks names up. Default: that of the thread. */
  readonly resolver?: HostResolver | undefined;
  /** Milliseconds after which the next address is tried beside the last one. Default 250 (RFC 8305 §5). */
  readonly attemptDelay?: number | undefined;
  /** Is filled in. */
  readonly times?: ConnectTimes | undefined;
}

/**
 * Connects to an address; to a host with several addresses, to the first that answers (RFC 8305).
 *
 * @throws {ProxyError} `connect_refused`, `connect_timeout`, `connect_no_route`, `connect_error`, `bind_error`,
 * `socket_error`, `dns_error`, `dns_timeout`; or what the signal gives as its reason.
 */
export async function dial(address: Address, options: DialOptions): Promise<Socket> {
  if (address.kind === "unix") {
    const start = performance.now();
    const socket = await dialDeno({ transport: "unix", path: address.path }, address, 0, options);
    if (options.times !== undefined) options.times.connect = performance.now() - start;
    return socket;
  }
  return await eachAddress(
    address,
    options,
    (to, timeout, signal) => dialTcp(to, { ...options, timeout, signal }),
    (socket) => socket.destroy(),
  );
}

async function dialTcp(to: TcpAddress, options: DialOptions): Promise<Socket> {
  if (options.localAddress) {
    const raw = await dialNode(to, options);
    return new NodeSocket(raw, nodeFacts(raw));
  }
  const { timeout, signal, tcpKeepAlive = 0 } = options;
  if (options.engine === "epoll" && isIP(to.host) !== 0) {
    const loop = epollLoop();
    if (loop !== null && !mayReach(to.host, to.port)) throw notCapable(to);
    if (loop !== null) return await dialEpoll(loop, to, { timeout, tcpKeepAlive, signal });
  }
  // A handle looks no names up.
  if (options.engine === "handle" && isIP(to.host) !== 0 && handleEngineAvailable()) {
    return await dialHandle(to, { timeout, tcpKeepAlive, signal });
  }
  return await dialDeno({ hostname: to.host, port: to.port }, to, tcpKeepAlive, options);
}

/** The kernel asks nobody for rights: it is as if the runtime had been asked to connect. */
function notCapable(to: TcpAddress): ProxyError {
  const address = formatAddress(to);
  const error = new Deno.errors.NotCapable(`Requires net access to "${address}"`);
  return connectError(error, `Connecting to ${address}`);
}

/** From which address of a name the next connection begins, so that all of them get their share. */
let turn = 0;

/**
 * Runs `one` for the addresses of a host until one succeeds, as RFC 8305 §5 says: the next begins when the last one
 * has failed or is slow.
 *
 * @param one Tries one address, no longer than `timeout` milliseconds, and gives up when the signal aborts.
 * @param drop Closes a connection that came second.
 * @throws {ProxyError} What the only address failed with, or an error that names all failures; or the reason of the
 * signal.
 */
export async function eachAddress<T>(
  address: TcpAddress,
  options: Pick<
    DialOptions,
    "timeout" | "signal" | "resolver" | "attemptDelay" | "localAddress" | "times"
  >,
  one: (to: TcpAddress, timeout: number, signal: AbortSignal | undefined) => Promise<T>,
  drop: (connection: T) => void,
): Promise<T> {
  const { timeout, signal, times } = options;
  const { host, port } = address;
  const asked = performance.now();
  const found = (options.resolver ?? hostResolver()).resolve(host, { timeout, signal });
  const hosts = usable(address, found instanceof Promise ? await found : found, options);
  const start = performance.now();
  if (times !== undefined) times.lookup = isIP(host) === 0 ? start - asked : 0;
  const connection = await race<T>({
    hosts: hosts.length > 1 ? interleave(hosts, turn++) : hosts,
    timeout,
    delay: options.attemptDelay,
    context: `Connecting to ${formatAddress(address)}`,
    signal,
    connect: (host, timeout, signal) => one({ kind: "tcp", host, port }, timeout, signal),
    drop,
  });
  if (times !== undefined) times.connect = performance.now() - start;
  return connection;
}

/** Those addresses of a host that can be connected to from here. */
function usable(
  { host, port }: TcpAddress,
  found: readonly string[],
  { localAddress }: Pick<DialOptions, "localAddress">,
): readonly string[] {
  let hosts = found;
  if (localAddress && hosts.length > 1) {
    const family = isIP(localAddress);
    const same = hosts.filter((one) => isIP(one) === family);
    if (same.length > 0) hosts = same;
  }
  if (hosts[0] === host || mayReachAll()) return hosts;
  const granted = hosts.filter((one) => mayReach(one, port));
  if (granted.length > 0) return granted;
  // The right may be to the name alone: then the runtime looks it up itself when it connects.
  return mayReach(host, port) ? [host] : hosts;
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

/** Milliseconds that a connect which nobody wants any more is left alone before it is cancelled. */
const ABANDON_GRACE = 200;

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
    let grace: ReturnType<typeof setTimeout> | undefined;
    connectDeno(to, cancel.signal).then((connection) => {
      clearTimeout(grace);
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
    }, (error) => {
      clearTimeout(grace);
      end.reject(connectError(error, context));
    });
    return () => {
      givenUp = true;
      // A connect that the signal meets in the moment of its success leaves its descriptor open for ever in this
      // runtime. So one that may be about to succeed is let succeed, and closed.
      grace = setTimeout(() => cancel.abort(), ABANDON_GRACE);
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
