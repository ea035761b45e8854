/**
 * Opens a connection on a native TCP handle.
 *
 * @module
 */
import { isIPv6 } from "node:net";
import { Roster, type RosterMember } from "../base/roster.ts";
import { young } from "../base/young.ts";
import { type Address, formatAddress, type TcpAddress, unmapIpv4 } from "./address.ts";
import { attempt } from "./attempt.ts";
import { HandleSocket } from "./handle_socket.ts";
import { connectError } from "./io_error.ts";
import { type NativeAddress, nativeTcp, statusError, type TcpHandle } from "./native_handle.ts";
import type { Socket } from "./socket.ts";

/** A connect being made: a handle that nobody holds could be collected. */
interface Connecting extends RosterMember {
  readonly handle: TcpHandle;
}

const connecting = new Roster<Connecting>();

/** How {@linkcode dialHandle} connects. */
export interface HandleDialOptions {
  /** Milliseconds. */
  readonly timeout: number;
  /** Seconds; `0` for none. */
  readonly tcpKeepAlive: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects to an IP address on a native handle.
 *
 * @throws {ProxyError} `connect_refused`, `connect_timeout`, `connect_no_route`, `connect_error`.
 */
export function dialHandle(to: TcpAddress, options: HandleDialOptions): Promise<Socket> {
  const context = `Connecting to ${formatAddress(to)}`;
  const native = nativeTcp();
  if (native === null) {
    return Promise.reject(connectError(new Error("this runtime has no native handles"), context));
  }
  return attempt<Socket>({
    timeout: options.timeout,
    timeoutType: "connect_timeout",
    context,
    signal: options.signal,
  }, (end) => {
    const handle = new native.TCP(native.types.SOCKET);
    const one: Connecting = { rosterPlace: -1, handle };
    const drop = () => {
      if (connecting.delete(one)) handle.close();
    };
    const refuse = (error: unknown) => {
      drop();
      end.reject(connectError(error, context));
    };
    connecting.add(one);
    const request = new native.TCPConnectWrap();
    request.oncomplete = young((status) => {
      // Given up before: the handle is closed already.
      if (one.rosterPlace < 0) return;
      if (status < 0) return refuse(statusError(status, "connect"));
      connecting.delete(one);
      handle.setNoDelay(true);
      if (options.tcpKeepAlive > 0) handle.setKeepAlive(true, options.tcpKeepAlive);
      end.resolve(
        new HandleSocket(native, handle, { remote: to, local: localAddress(handle), tls: null }),
      );
    });
    try {
      const status = isIPv6(to.host)
        ? handle.connect6(request, to.host, to.port)
        : handle.connect(request, to.host, to.port);
      if (status < 0) refuse(statusError(status, "connect"));
    } catch (error) {
      // Missing permission is thrown.
      refuse(error);
    }
    return drop;
  });
}

/** Our end of a handle's connection. */
export function localAddress(handle: TcpHandle): Address {
  const name: NativeAddress = {};
  handle.getsockname(name);
  return tcpAddress(name);
}

/** The other end of a handle's connection. */
export function remoteAddress(handle: TcpHandle): Address {
  const name: NativeAddress = {};
  handle.getpeername(name);
  return tcpAddress(name);
}

function tcpAddress(name: NativeAddress): Address {
  return { kind: "tcp", host: unmapIpv4(name.address ?? ""), port: name.port ?? 0 };
}
