/**
 * Listening with the runtime's own TLS: as fast as a server in C, but for one certificate, and with two traps.
 *
 * It does not switch Nagle's algorithm off, so that the first answer of a connection waits for a delayed
 * acknowledgement; and closing a connection whose handshake hangs, or whose client does not read, leaves its descriptor
 * open until the client goes. Both have their remedy in {@linkcode SocketSurgeon}; without one, such a connection keeps
 * its place under the limit until it is gone.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { formatAddress, type TcpAddress } from "./address.ts";
import { ConnectionGate, type GateOptions } from "./connection_gate.ts";
import { type Admission, checkAdmission, closeQuietly } from "./connection_setup.ts";
import { addressOf } from "./deno_socket.ts";
import { isDescriptorShortage, reason } from "./io_error.ts";
import type { Listener } from "./listener.ts";
import { NativeTlsSocket, type SocketSurgeon } from "./native_tls_socket.ts";
import type { TlsServer } from "./tls_server.ts";

/** How to listen with native TLS. */
export interface NativeTlsOptions extends GateOptions {
  readonly backlog?: number;
  readonly admission?: Admission | null;
  readonly surgeon?: SocketSurgeon | null;
}

/** Milliseconds to wait for somebody to give a descriptor back. */
const SHORTAGE_PAUSE = 100;
/** Failures in a row that are taken for bad luck with single connections; from then on it pauses as well. */
const MAX_STREAK = 16;

/**
 * Begins accepting.
 *
 * @param address Where the accept queue is that all threads of the process share; with its port.
 * @throws {Error} If it cannot be listened on.
 */
export function listenNativeTls(
  address: TcpAddress,
  server: TlsServer,
  options: NativeTlsOptions,
): Listener {
  return new NativeTlsListener(address, server, options);
}

class NativeTlsListener implements Listener {
  readonly name: string;
  readonly address: TcpAddress;
  readonly engine = "deno";
  readonly #server: TlsServer;
  readonly #gate: ConnectionGate;
  readonly #options: NativeTlsOptions;
  readonly #surgeon: SocketSurgeon | null;
  #listener: Deno.TlsListener;
  #closed = false;

  constructor(address: TcpAddress, server: TlsServer, options: NativeTlsOptions) {
    this.name = options.name;
    this.address = address;
    this.#server = server;
    this.#gate = new ConnectionGate(options);
    this.#options = options;
    this.#surgeon = options.surgeon ?? null;
    this.#listener = this.#bind();
    server.onReplaced = () => this.#rebind();
    void this.#accept(this.#listener);
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
    this.#server.onReplaced = null;
    this.#listener.close();
    this.#gate.onFree?.();
  }

  #bind(): Deno.TlsListener {
    const { cert, key } = this.#server.store.first;
    const { host, port } = this.address;
    return bindSharedTls({
      hostname: host,
      port,
      cert,
      key,
      alpnProtocols: [...this.#server.options.alpn],
      tcpBacklog: this.#options.backlog ?? 511,
    } as SharedTlsOptions);
  }

  /** Another certificate takes another listener. They share the queue, so nothing that waits in it is lost. */
  #rebind(): void {
    if (this.#closed) return;
    try {
      const next = this.#bind();
      this.#listener.close();
      this.#listener = next;
      void this.#accept(next);
    } catch (error) {
      this.#gate.acceptFailed(error);
    }
  }

  async #accept(listener: Deno.TlsListener): Promise<void> {
    let streak = 0;
    while (!this.#closed && listener === this.#listener) {
      // Closing what is too many would not close it: it waits in the kernel, where it costs no descriptor.
      if (this.#surgeon === null && this.#gate.full) {
        await new Promise<void>((resolve) => this.#gate.onFree = resolve);
        continue;
      }
      let connection: Deno.TlsConn;
      try {
        connection = await listener.accept();
      } catch (error) {
        if (this.#closed || listener !== this.#listener) return;
        if (error instanceof Deno.errors.BadResource) return;
        if (!isDescriptorShortage(error) && ++streak < MAX_STREAK) continue;
        this.#gate.acceptFailed(error);
        await new Promise((resolve) => setTimeout(resolve, SHORTAGE_PAUSE));
        continue;
      }
      streak = 0;
      if (!this.#gate.enter()) void this.#drop(connection);
      else void this.#setUp(connection);
    }
  }

  /**
   * Closes a connection whose handshake is not done. Resolves when its descriptor is as good as gone: without a remedy,
   * when the client has made up its mind.
   */
  async #drop(connection: Deno.TlsConn): Promise<void> {
    if (this.#surgeon === null) await connection.handshake().catch(() => {});
    const { local, remote } = endsOf(connection);
    closeQuietly(connection);
    this.#surgeon?.cut(local, remote);
  }

  async #setUp(connection: Deno.TlsConn): Promise<void> {
    const { remote, local } = endsOf(connection);
    const { alpn, handshakeTimeout } = this.#server.options;
    const ownNames = this.#server.store.first.names;
    const context = `TLS handshake of ${formatAddress(remote)}`;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let late = false;
    try {
      await checkAdmission(remote, this.#options.admission ?? null);
      const shaken = connection.handshake();
      timer = setTimeout(() => {
        late = true;
        this.#gate.refused(
          new ProxyError(
            "tls_handshake_timeout",
            `${context}: not done within ${handshakeTimeout} ms`,
            { source: "downstream" },
          ),
        );
        // Without a remedy the descriptor would outlive the connection unseen; so the connection stays, and counts.
        if (this.#surgeon !== null) void this.#drop(connection);
      }, handshakeTimeout);
      const { alpnProtocol } = await shaken;
      clearTimeout(timer);
      if (late) {
        closeQuietly(connection);
        return this.#gate.onReleased();
      }
      this.#gate.pass(
        new NativeTlsSocket(connection, {
          remote,
          local,
          tls: {
            // The runtime tells nothing else.
            version: "",
            cipher: "",
            serverName: "",
            alpn: alpnProtocol !== null && alpn.includes(alpnProtocol) ? alpnProtocol : "",
            resumed: false,
            certificate: null,
            ownNames,
            clientChain: [],
          },
          onReleased: this.#gate.onReleased,
        }, this.#surgeon),
      );
    } catch (error) {
      clearTimeout(timer);
      if (!late) {
        this.#gate.refused(
          error instanceof ProxyError
            ? error
            : new ProxyError("tls_handshake_failure", `${context}: ${reason(error)}`, {
              source: "downstream",
              cause: error,
            }),
        );
      }
      // Not admitted: its handshake may hang. Any other error is the end of the handshake.
      if (error instanceof ProxyError) await this.#drop(connection);
      else closeQuietly(connection);
      this.#gate.onReleased();
    }
  }
}

function endsOf(
  connection: Deno.TlsConn,
): { readonly local: TcpAddress; readonly remote: TcpAddress } {
  return {
    local: addressOf(connection.localAddr) as TcpAddress,
    remote: addressOf(connection.remoteAddr) as TcpAddress,
  };
}

type SharedTlsOptions = Deno.ListenTlsOptions & Deno.TlsCertifiedKeyPem & { tcpBacklog: number };

/**
 * Listens on the accept queue that all threads of the process share.
 *
 * The runtime can do that for TLS as it does for clear text, but its function does not pass the option on: it builds the
 * object that it gives to the native side from the options it knows. So the option is put where that object inherits it
 * from, for the time of this call alone, in which no other code runs.
 */
function bindSharedTls(options: SharedTlsOptions): Deno.TlsListener {
  Object.defineProperty(Object.prototype, "loadBalanced", {
    value: true,
    configurable: true,
    enumerable: false,
    writable: false,
  });
  try {
    return Deno.listenTls(options);
  } finally {
    delete (Object.prototype as { loadBalanced?: boolean }).loadBalanced;
  }
}
