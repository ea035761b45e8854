/**
 * Accepting by the calls of the kernel, on a socket that others listen on, too.
 *
 * @module
 */
import type { TcpAddress } from "../address.ts";
import { ConnectionGate, type GateOptions } from "../connection_gate.ts";
import { type Admission, passAdmitted } from "../connection_setup.ts";
import { isDescriptorShortage } from "../io_error.ts";
import type { Listener } from "../listener.ts";
import { EpollSocket } from "./epoll_socket.ts";
import type { EpollLoop, Watched } from "./event_loop.ts";
import { ADDRESS_BYTES, localAddress, unpackAddress } from "./socket_address.ts";
import { ERRNO, systemError } from "./system_calls.ts";

const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;

/** Connections that are accepted in one go: what is there already must not wait for all that comes, and others take some. */
const BATCH = 4;

/** Milliseconds until accepting is tried again when there were no descriptors. */
const PATIENCE = 50;

/** What listening takes. */
export interface EpollListenOptions extends GateOptions {
  /** Says whether a client may come in. Default: every client. */
  readonly admission?: Admission | null;
}

/** Room for the address of who has just come. */
const ADDRESS = new Uint8Array(ADDRESS_BYTES);
const LENGTH = new Uint32Array(1);
const LENGTH_BYTES = new Uint8Array(LENGTH.buffer);

/** A listener whose connections an {@linkcode EpollLoop} watches. */
export class EpollListener implements Listener, Watched {
  readonly name: string;
  readonly address: TcpAddress;
  readonly engine = "epoll";
  readonly descriptor: number;
  readonly #loop: EpollLoop;
  readonly #gate: ConnectionGate;
  readonly #admission: Admission | null;
  /** What a connection to an address of ours has as its near end; `null`: it has to be asked for. */
  readonly #local: TcpAddress | null;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /**
   * Begins accepting.
   *
   * @param descriptor A socket that listens at `address`; it belongs to the listener from then on.
   * @throws {Error} If the kernel refuses.
   */
  constructor(
    loop: EpollLoop,
    descriptor: number,
    address: TcpAddress,
    options: EpollListenOptions,
  ) {
    this.name = options.name;
    this.address = address;
    this.descriptor = descriptor;
    this.#loop = loop;
    this.#gate = new ConnectionGate(options);
    this.#admission = options.admission ?? null;
    this.#local = isAny(address.host) ? null : address;
    const on = new Uint8Array(new Int32Array([1]).buffer);
    // What is accepted inherits it.
    loop.calls.setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, on, on.length);
    loop.addShared(this);
  }

  get connectionCount(): number {
    return this.#gate.connectionCount;
  }

  get accepted(): number {
    return this.#gate.accepted;
  }

  get rejected(): number {
    return this.#gate.rejected;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#pause);
    this.#loop.removeShared(this);
    this.#loop.calls.close(this.descriptor);
  }

  onEvents(): void {
    const { accepted } = this.#gate;
    this.#acceptSome();
    if (accepted === this.#gate.accepted || this.#closed || this.#pause !== undefined) return;
    // The kernel wakes the one of several that has waited from the beginning, who would get all that come one by one.
    this.#loop.removeShared(this);
    this.#watch();
  }

  onTurn(): void {}

  #acceptSome(): void {
    const { calls } = this.#loop;
    for (let i = 0; i < BATCH && !this.#closed; i++) {
      LENGTH[0] = ADDRESS_BYTES;
      const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
      const descriptor = calls.accept4(this.descriptor, ADDRESS, LENGTH_BYTES, flags);
      if (descriptor >= 0) {
        this.#serve(descriptor);
        continue;
      }
      const number = calls.errno();
      if (number === ERRNO.EAGAIN) return;
      const error = systemError(number, "accept");
      if (!isDescriptorShortage(error)) continue;
      this.#gate.acceptFailed(error);
      return this.#rest();
    }
  }

  /** Without descriptors the kernel would tell of who waits again and again. */
  #rest(): void {
    this.#loop.removeShared(this);
    this.#pause = setTimeout(() => this.#watch(), PATIENCE);
  }

  #watch(): void {
    this.#pause = undefined;
    try {
      this.#loop.addShared(this);
    } catch (error) {
      this.#gate.acceptFailed(error);
      this.#pause = setTimeout(() => this.#watch(), PATIENCE);
    }
  }

  #serve(descriptor: number): void {
    const { calls } = this.#loop;
    if (!this.#gate.enter()) return void calls.close(descriptor);
    let socket: EpollSocket;
    try {
      socket = new EpollSocket(this.#loop, descriptor, {
        remote: unpackAddress(ADDRESS),
        local: this.#local ?? localAddress(calls, descriptor),
        tls: null,
        onReleased: this.#gate.onReleased,
      });
      this.#loop.add(socket);
    } catch (error) {
      calls.close(descriptor);
      this.#gate.onReleased();
      return this.#gate.acceptFailed(error);
    }
    passAdmitted(socket, this.#admission, this.#gate);
  }
}

function isAny(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
