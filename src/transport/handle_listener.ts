/**
 * Accepting on a native TCP handle: on a socket that others listen on, too, or on one of its own beside theirs, by
 * SO_REUSEPORT.
 *
 * @module
 */
import { isIPv6 } from "node:net";
import type { Address, TcpAddress } from "./address.ts";
import { ConnectionGate, type GateOptions } from "./connection_gate.ts";
import { type Admission, passAdmitted } from "./connection_setup.ts";
import { localAddress, remoteAddress } from "./handle_dial.ts";
import { HandleSocket } from "./handle_socket.ts";
import { isDescriptorShortage } from "./io_error.ts";
import type { Listener } from "./listener.ts";
import { claim, type Loan } from "./loan.ts";
import {
  type NativeTcp,
  nativeTcp,
  REUSE_PORT,
  statusError,
  type TcpHandle,
} from "./native_handle.ts";

/** Milliseconds between two looks at whether accepting still works. */
const REVIVE_INTERVAL = 100;

/** Hosts that stand for every address of this machine. */
const WILDCARDS = new Set(["0.0.0.0", "::"]);

/** Keeps listening handles from being collected while only the event loop knows them. */
const listening = new Set<HandleListener>();
const bindings = new Set<TcpHandle>();

/** What listening on a handle takes. */
export interface HandleListenOptions extends GateOptions {
  readonly backlog?: number;
  /** Says whether a client may come in. Default: every client. */
  readonly admission?: Admission | null;
  /** A descriptor of a socket that is bound there already, which is used up. Default: another is bound, beside it. */
  readonly loan?: Loan | null;
}

/** A port that is bound, without anybody listening on it yet. */
export interface BoundHandle {
  readonly port: number;
  close(): void;
}

/**
 * Binds a port for others to listen on by SO_REUSEPORT; connections are refused until one does.
 *
 * @throws {Error} With the errno name as `code`.
 */
export function bindHandle(address: TcpAddress): BoundHandle {
  const native = nativeTcp();
  if (native === null) throw new Error("this runtime has no native handles");
  const handle = new native.TCP(native.types.SERVER);
  try {
    check(bind(handle, address), "bind");
    const bound = localAddress(handle);
    bindings.add(handle);
    return {
      port: bound.kind === "tcp" ? bound.port : 0,
      close() {
        if (bindings.delete(handle)) handle.close();
      },
    };
  } catch (error) {
    handle.close();
    throw error;
  }
}

/**
 * Begins accepting. The host must be an IP address.
 *
 * @throws {Error} With the errno name as `code`, if the address cannot be listened on.
 */
export function listenHandle(address: TcpAddress, options: HandleListenOptions): Listener {
  const native = nativeTcp();
  if (native === null) throw new Error("this runtime has no native handles");
  const handle = new native.TCP(native.types.SERVER);
  try {
    const { loan = null } = options;
    if (loan === null) check(bind(handle, address), "bind");
    else if (claim(loan)) check(handle.open(loan.descriptor), "open");
    else throw new Error("the socket that was lent for it was taken back");
    return new HandleListener(native, handle, address, options);
  } catch (error) {
    handle.close();
    throw error;
  }
}

class HandleListener implements Listener {
  readonly name: string;
  readonly address: TcpAddress;
  readonly engine = "handle";
  readonly #native: NativeTcp;
  readonly #handle: TcpHandle;
  readonly #gate: ConnectionGate;
  readonly #admission: Admission | null;
  readonly #backlog: number;
  readonly #watch: ReturnType<typeof setInterval>;
  /** Our end of all connections; `null` where they differ. */
  readonly #local: Address | null;
  /** Whether what is accepted has Nagle's algorithm off from the start. */
  readonly #inheritsNoDelay: boolean;
  /** How many had come when {@linkcode #revive} last looked. */
  #arrived = 0;
  #closed = false;

  constructor(
    native: NativeTcp,
    handle: TcpHandle,
    { host, port }: TcpAddress,
    options: HandleListenOptions,
  ) {
    this.name = options.name;
    this.#admission = options.admission ?? null;
    this.#native = native;
    this.#handle = handle;
    this.#gate = new ConnectionGate(options);
    handle.onconnection = (status, client) => this.#serve(status, client);
    native.setupListenWrap(handle);
    this.#backlog = options.backlog ?? 511;
    check(handle.listen(this.#backlog), "listen");
    const bound = localAddress(handle);
    this.#local = bound.kind === "tcp" && WILDCARDS.has(bound.host) ? null : bound;
    this.#inheritsNoDelay = handle.setNoDelay(true) === 0 && Deno.build.os === "linux";
    // A socket from elsewhere goes by the address that it has here, which is the one that may be bound.
    this.address = {
      kind: "tcp",
      host,
      port: port === 0 && bound.kind === "tcp" ? bound.port : port,
    };
    listening.add(this);
    this.#watch = setInterval(() => this.#revive(), REVIVE_INTERVAL);
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
    listening.delete(this);
    clearInterval(this.#watch);
    this.#handle.close();
  }

  /**
   * The native side drops the error of an accept that found no descriptor, and never tries again by itself. Listening
   * again wakes it up; on a handle that is well it changes nothing. Whether descriptors are short has to be asked, which
   * costs the more the more connections the port has; so not while it goes on accepting.
   */
  #revive(): void {
    const arrived = this.#gate.accepted + this.#gate.rejected;
    if (arrived !== this.#arrived) {
      this.#arrived = arrived;
      return;
    }
    const probe = new this.#native.TCP(this.#native.types.SERVER);
    const error = statusError(bind(probe, this.address), "accept");
    probe.close();
    if (isDescriptorShortage(error)) this.#gate.acceptFailed(error);
    this.#handle.listen(this.#backlog);
  }

  #serve(status: number, client: TcpHandle | undefined): void {
    // Called by native code: whatever is thrown from here would end the process.
    try {
      if (status < 0 || client === undefined) {
        if (!this.#closed) this.#gate.acceptFailed(statusError(status, "accept"));
        return;
      }
      if (this.#closed || !this.#gate.enter()) return client.close();
      if (!this.#inheritsNoDelay) client.setNoDelay(true);
      const socket = new HandleSocket(this.#native, client, {
        remote: remoteAddress(client),
        local: this.#local ?? localAddress(client),
        tls: null,
        onReleased: this.#gate.onReleased,
      });
      passAdmitted(socket, this.#admission, this.#gate);
    } catch (error) {
      this.#gate.acceptFailed(error);
    }
  }
}

/** Binds, without listening, so that several can have one address. */
function bind(handle: TcpHandle, { host, port }: TcpAddress): number {
  return isIPv6(host)
    ? handle.bind6(host, port, REUSE_PORT)
    : handle.bindWithFlags(host, port, REUSE_PORT);
}

function check(status: number, call: string): void {
  if (status < 0) throw statusError(status, call);
}
