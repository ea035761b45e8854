/**
 * Does for service workers what they have no right to do: it needs a call into libc.
 *
 * @module
 */
import { formatAddress, type TcpAddress } from "../transport/address.ts";
import { type ConnectionEnds, KernelSockets } from "../transport/kernel_sockets.ts";
import type { Logger } from "../observe/log.ts";

/** Milliseconds after which a connection is looked for once more: the runtime may have been about to close it itself. */
const SECOND_LOOK = 1_000;

/** Remedies for listeners with native TLS. */
export class SocketSurgery {
  /** `undefined`: nobody has needed it yet. */
  #loaded: KernelSockets | null | undefined;
  readonly #log: Logger;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Loaded by the first who needs it: without TLS, libc is left alone. */
  get #kernel(): KernelSockets | null {
    return this.#loaded === undefined ? this.#loaded = KernelSockets.load() : this.#loaded;
  }

  /** Whether anything can be done. */
  get available(): boolean {
    return this.#kernel !== null;
  }

  /** Makes a listener with native TLS answer at once, or warns that it will not. */
  ready(listener: string, address: TcpAddress): void {
    if (this.#kernel === null) {
      this.#log.warn(
        `Listener ${listener}: without the right ffi, its first answer on a connection is about 40 ms late, and a client that hangs in its handshake or does not read keeps its connection for as long as it likes; run with --allow-ffi, or set tls.engine: node`,
        { listener },
      );
    } else if (!this.#kernel.noDelay(address)) {
      this.#log.warn(
        `Listener ${listener}: ${
          formatAddress(address)
        } was not found among the sockets of this process; its first answer on a connection is about 40 ms late`,
        { listener },
      );
    }
  }

  /** Cuts connections. */
  cut(connections: readonly ConnectionEnds[]): void {
    const kernel = this.#kernel;
    if (kernel === null || kernel.cut(connections) === connections.length) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      kernel.cut(connections);
    }, SECOND_LOOK);
    this.#timers.add(timer);
  }

  /** Lets go of libc. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#loaded?.close();
  }
}
