/**
 * Makes a node stream of a connection that Deno has accepted, so that node:tls can run over it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Socket as NetSocket } from "node:net";
import { Duplex } from "node:stream";
import { nativeTcp, type TcpHandle } from "./native_handle.ts";

/** What opens a handle on a connection of Deno's; missing where the runtime is another. */
type Opener = TcpHandle & { readonly openFromRid?: (resource: number) => number };

/**
 * Makes a stream over a connection. The connection must stay open for as long as the stream is used, and be closed by
 * the caller after it.
 *
 * A TCP connection gets a native handle of its own, on a second descriptor: closing the first one would end our
 * direction of the connection. Any other is read and written through Deno.
 */
export function adoptConnection(connection: Deno.Conn<Deno.Addr>): Duplex {
  const handle = openHandle(connection);
  if (handle === null) return new ConnectionStream(connection);
  // The types of node do not know that a socket can be made from a handle.
  const options = { handle, allowHalfOpen: true } as unknown as { allowHalfOpen: boolean };
  return new NetSocket(options);
}

function openHandle(connection: Deno.Conn<Deno.Addr>): TcpHandle | null {
  const native = nativeTcp();
  if (native === null || connection.remoteAddr.transport !== "tcp") return null;
  const symbol = Object.getOwnPropertySymbols(connection)
    .find(({ description }) => description === "Deno.internal.rid");
  const resource = symbol === undefined
    ? undefined
    : (connection as unknown as Record<symbol, unknown>)[symbol];
  if (typeof resource !== "number") return null;
  const handle: Opener = new native.TCP(native.types.SOCKET);
  if (typeof handle.openFromRid === "function" && handle.openFromRid(resource) === 0) return handle;
  handle.close();
  return null;
}

/** A stream that reads and writes through Deno. */
class ConnectionStream extends Duplex {
  readonly #connection: Deno.Conn<Deno.Addr>;
  readonly #buffer = Buffer.alloc(16 * 1024);

  constructor(connection: Deno.Conn<Deno.Addr>) {
    super({ allowHalfOpen: true });
    this.#connection = connection;
  }

  override _read(): void {
    this.#connection.read(this.#buffer).then((length) => {
      // What is pushed is kept by whoever reads it.
      this.push(length === null ? null : Buffer.from(this.#buffer.subarray(0, length)));
    }, (error) => this.destroy(error));
  }

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error) => void): void {
    void this.#writeAll(bytes).then(() => done(), done);
  }

  override _final(done: (error?: Error) => void): void {
    // A connection that is broken cannot be shut down; that it is broken, its reader is told.
    this.#connection.closeWrite().then(() => done(), () => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    try {
      this.#connection.close();
    } catch {
      // Closed already.
    }
    done(error);
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.#connection.write(bytes.subarray(at));
    }
  }
}
