/**
 * A connection over the runtime's own TLS, after its handshake.
 *
 * @module
 */
import type { TcpAddress } from "./address.ts";
import type { SocketFacts } from "./base_socket.ts";
import { type DenoConnection, DenoSocket } from "./deno_socket.ts";

/** Does to descriptors what the runtime does not. */
export interface SocketSurgeon {
  /** Cuts a connection that was closed and is still there. Nothing happens if it is gone. */
  cut(local: TcpAddress, remote: TcpAddress): void;
}

/** Ends and facts of such a connection. */
export interface NativeTlsFacts extends SocketFacts {
  readonly remote: TcpAddress;
  readonly local: TcpAddress;
}

/** A {@linkcode DenoSocket} that says goodbye as TLS wants it, and lets go of a client that does not read. */
export class NativeTlsSocket extends DenoSocket {
  readonly #connection: Tracked;

  /** @param surgeon `null`: a client that does not read keeps its place until it reads or goes. */
  constructor(connection: DenoConnection, facts: NativeTlsFacts, surgeon: SocketSurgeon | null) {
    const tracked = new Tracked(connection, facts, surgeon);
    super(tracked, { ...facts, onReleased: undefined });
    this.#connection = tracked;
  }

  protected override startFarewell(): boolean {
    // Said when our direction was ended, and with the kernel.
    if (this.#connection.ended) return false;
    // Ending our direction sends the alert that says so (RFC 8446 §6.1).
    const done = () => this.farewellDone();
    this.#connection.closeWrite().then(done, done);
    return true;
  }
}

/** Knows whether the runtime is still writing: closing would then not close. */
class Tracked implements DenoConnection {
  readonly #connection: DenoConnection;
  readonly #facts: NativeTlsFacts;
  readonly #surgeon: SocketSurgeon | null;
  #pending = 0;
  #closing = false;
  #ending = false;
  readonly #settled = (): void => {
    if (--this.#pending === 0 && this.#closing) this.#close();
  };

  constructor(connection: DenoConnection, facts: NativeTlsFacts, surgeon: SocketSurgeon | null) {
    this.#connection = connection;
    this.#facts = facts;
    this.#surgeon = surgeon;
  }

  /** Whether our direction was ended, and the runtime has nothing more to write. */
  get ended(): boolean {
    return this.#ending && this.#pending === 0;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#connection.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.#pending++;
    const written = this.#connection.write(bytes);
    written.then(this.#settled, this.#settled);
    return written;
  }

  closeWrite(): Promise<void> {
    this.#ending = true;
    this.#pending++;
    const ended = this.#connection.closeWrite();
    ended.then(this.#settled, this.#settled);
    return ended;
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    const { local, remote } = this.#facts;
    if (this.#pending === 0) return this.#close();
    if (this.#surgeon === null) return;
    this.#close();
    this.#surgeon.cut(local, remote);
  }

  #close(): void {
    this.#pending = NaN;
    try {
      this.#connection.close();
    } catch {
      // The runtime has closed it already.
    }
    this.#facts.onReleased?.();
  }
}
