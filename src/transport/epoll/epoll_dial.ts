/**
 * Opens a connection by the calls of the kernel.
 *
 * @module
 */
import { formatAddress, type TcpAddress } from "../address.ts";
import { attempt } from "../attempt.ts";
import { connectError } from "../io_error.ts";
import type { Socket } from "../socket.ts";
import { EpollSocket } from "./epoll_socket.ts";
import type { EpollLoop, Watched } from "./event_loop.ts";
import { AF_INET, AF_INET6, localAddress, packAddress } from "./socket_address.ts";
import { ERRNO, systemError } from "./system_calls.ts";

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_KEEPALIVE = 9;

/** How {@linkcode dialEpoll} connects. */
export interface EpollDialOptions {
  /** Milliseconds. */
  readonly timeout: number;
  /** Seconds; `0` for none. */
  readonly tcpKeepAlive: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects to an IP address.
 *
 * @throws {ProxyError} `connect_refused`, `connect_timeout`, `connect_no_route`, `connect_error`.
 */
export function dialEpoll(
  loop: EpollLoop,
  to: TcpAddress,
  options: EpollDialOptions,
): Promise<Socket> {
  const context = `Connecting to ${formatAddress(to)}`;
  const { calls } = loop;
  return attempt<Socket>({
    timeout: options.timeout,
    timeoutType: "connect_timeout",
    context,
    signal: options.signal,
  }, (end) => {
    const packed = packAddress(to);
    const family = packed.length === 16 ? AF_INET : AF_INET6;
    const descriptor = calls.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) throw systemError(calls.errno(), "socket");
    setOption(loop, descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    if (options.tcpKeepAlive > 0) {
      setOption(loop, descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
      setOption(loop, descriptor, IPPROTO_TCP, TCP_KEEPIDLE, options.tcpKeepAlive);
    }
    const pending = new Pending(loop, descriptor, (number, events) => {
      if (number !== 0) {
        loop.close(pending);
        return end.reject(connectError(systemError(number, "connect"), context));
      }
      try {
        const facts = { remote: to, local: localAddress(calls, descriptor), tls: null };
        const socket = new EpollSocket(loop, descriptor, facts);
        loop.pass(socket);
        // Who speaks first may have done so already.
        socket.onEvents(events);
        end.resolve(socket);
      } catch (error) {
        loop.close(pending);
        end.reject(connectError(error, context));
      }
    });
    pending.begin(packed);
    return () => pending.giveUp();
  });
}

/** A connection that is being made. */
class Pending implements Watched {
  readonly descriptor: number;
  readonly #loop: EpollLoop;
  readonly #onEnd: (number: number, events: number) => void;
  #over = false;

  constructor(
    loop: EpollLoop,
    descriptor: number,
    onEnd: (number: number, events: number) => void,
  ) {
    this.descriptor = descriptor;
    this.#loop = loop;
    this.#onEnd = onEnd;
  }

  begin(packed: Uint8Array): void {
    const { calls } = this.#loop;
    if (calls.connect(this.descriptor, packed, packed.length) < 0) {
      const number = calls.errno();
      if (number !== ERRNO.EINPROGRESS) return this.#end(number, 0);
    }
    try {
      this.#loop.add(this);
    } catch (error) {
      this.#loop.close(this);
      throw error;
    }
  }

  giveUp(): void {
    if (this.#over) return;
    this.#over = true;
    this.#loop.close(this);
  }

  onEvents(events: number): void {
    if (this.#over) return;
    const value = new Uint8Array(4);
    const length = new Uint8Array(new Uint32Array([4]).buffer);
    this.#loop.calls.getsockopt(this.descriptor, SOL_SOCKET, SO_ERROR, value, length);
    this.#end(new Int32Array(value.buffer)[0]!, events);
  }

  onTurn(): void {}

  #end(number: number, events: number): void {
    this.#over = true;
    this.#onEnd(number, events);
  }
}

function setOption(
  { calls }: EpollLoop,
  descriptor: number,
  level: number,
  name: number,
  value: number,
): void {
  const bytes = new Uint8Array(new Int32Array([value]).buffer);
  calls.setsockopt(descriptor, level, name, bytes, bytes.length);
}
