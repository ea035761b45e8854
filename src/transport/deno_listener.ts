/**
 * Accepting from a `Deno.Listener`.
 *
 * @module
 */
import type { Address } from "./address.ts";
import { ConnectionGate, type GateOptions } from "./connection_gate.ts";
import { passesAtOnce, setUpConnection, type SetupSteps } from "./connection_setup.ts";
import { addressOf, DenoSocket } from "./deno_socket.ts";
import { isDescriptorShortage } from "./io_error.ts";
import type { Listener } from "./listener.ts";

/** Milliseconds to wait for somebody to give a descriptor back. What arrives waits in the kernel. */
const SHORTAGE_PAUSE = 100;
/** How long a unix socket that nobody finds any more is still accepted on, in milliseconds. */
const RETIRE_TIME = 100;
/** Failures in a row that are taken for bad luck with single connections; from then on it pauses as well. */
const MAX_STREAK = 16;

/**
 * Begins accepting.
 *
 * @param release Called when the listener is closed.
 * @param steps What connections go through before they are handed on.
 */
export function listenDeno(
  listener: Deno.Listener<Deno.TcpConn | Deno.UnixConn | Deno.Conn>,
  address: Address,
  options: GateOptions,
  release: () => void,
  steps: SetupSteps | null = null,
): Listener {
  return new DenoListener(listener, address, options, release, steps);
}

class DenoListener implements Listener {
  readonly name: string;
  readonly address: Address;
  readonly engine = "deno";
  readonly #listener: Deno.Listener<Deno.Conn>;
  readonly #gate: ConnectionGate;
  readonly #release: () => void;
  readonly #steps: SetupSteps | null;
  #closed = false;
  #wake: (() => void) | null = null;

  constructor(
    listener: Deno.Listener<Deno.Conn>,
    address: Address,
    options: GateOptions,
    release: () => void,
    steps: SetupSteps | null,
  ) {
    this.name = options.name;
    this.address = address;
    this.#listener = listener;
    this.#gate = new ConnectionGate(options);
    this.#release = release;
    this.#steps = steps;
    this.#accept();
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

  async retire(): Promise<void> {
    if (this.address.kind !== "unix") return;
    this.#release();
    await new Promise((resolve) => setTimeout(resolve, RETIRE_TIME));
    this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake?.();
    this.#listener.close();
    this.#release();
  }

  async #accept(): Promise<void> {
    let streak = 0;
    while (!this.#closed) {
      let connection: Deno.Conn;
      try {
        connection = await this.#listener.accept();
      } catch (error) {
        if (this.#closed || error instanceof Deno.errors.BadResource) return;
        // A connection that was broken while it waited is not a fault of the listener.
        if (!isDescriptorShortage(error) && ++streak < MAX_STREAK) continue;
        this.#gate.acceptFailed(error);
        await this.#pause();
        continue;
      }
      streak = 0;
      this.#serve(connection);
    }
  }

  #serve(connection: Deno.Conn): void {
    if (!this.#gate.enter()) return connection.close();
    try {
      if ("setNoDelay" in connection) (connection as Deno.TcpConn).setNoDelay(true);
    } catch {
      // The client is gone already. The first read will say so, as for any other connection.
    }
    const steps = this.#steps;
    if (steps !== null && !passesAtOnce(steps)) {
      void setUpConnection(connection, this.#gate, steps);
      return;
    }
    this.#gate.pass(
      new DenoSocket(connection, {
        remote: addressOf(connection.remoteAddr),
        local: addressOf(connection.localAddr),
        tls: null,
        onReleased: this.#gate.onReleased,
      }),
    );
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, SHORTAGE_PAUSE);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
