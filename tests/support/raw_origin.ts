/**
 * An origin that does on each connection exactly what a script says, and keeps every byte it received.
 *
 * @module
 */
import net from "node:net";
import tls from "node:tls";
import { eventually } from "./deadline.ts";
import { type RawRequest, readRequest, readRequestHead } from "./http_text.ts";
import { Wire } from "./wire.ts";

/** A connection that the proxy made. */
export class OriginConnection extends Wire {
  /** Which connection of the origin this is, from 0. */
  readonly index: number;

  constructor(socket: net.Socket, index: number) {
    super(socket);
    this.index = index;
  }

  /** Reads a request with its body. */
  request(ms?: number): Promise<RawRequest> {
    return readRequest(this, ms);
  }

  /** Reads a request head alone. */
  head(ms?: number): ReturnType<typeof readRequestHead> {
    return readRequestHead(this, ms);
  }

  /** Reads requests and answers each with `response`, until the connection ends. */
  async answerAll(response: string): Promise<void> {
    while (this.buffered.length > 0 || await this.fill(60_000)) {
      await this.request();
      await this.send(response);
    }
  }
}

/** What an origin does on a connection. When it returns or throws, the connection is closed. */
export type Script = (connection: OriginConnection) => Promise<void>;

/** Options of {@linkcode startRawOrigin}. */
export interface RawOriginOptions {
  /** A unix socket to listen on, instead of a port. */
  readonly path?: string;
  /** Speaks TLS. */
  readonly tls?: tls.TlsOptions;
}

/** A running origin. */
export class RawOrigin implements AsyncDisposable {
  /** `0` on a unix socket. */
  readonly port: number;
  /** All connections, closed ones too, in order. */
  readonly connections: readonly OriginConnection[];
  /** What scripts threw while their connection was still there. */
  readonly failures: readonly unknown[];
  readonly #server: net.Server;

  constructor(
    server: net.Server,
    connections: readonly OriginConnection[],
    failures: readonly unknown[],
  ) {
    this.#server = server;
    this.connections = connections;
    this.failures = failures;
    const address = server.address();
    this.port = address !== null && typeof address === "object" ? address.port : 0;
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** `http://127.0.0.1:port`. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Everything that was received, connection after connection. */
  get received(): string {
    return this.connections.map((connection) => connection.received).join("");
  }

  /** Waits until there are `count` connections. */
  async waitForConnections(count: number): Promise<void> {
    await eventually(() => this.connections.length >= count, `${count} connections to the origin`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const connection of this.connections) await connection[Symbol.asyncDispose]();
    await closed;
  }
}

/** Starts an origin that runs `script` on each connection. */
export async function startRawOrigin(
  script: Script,
  options: RawOriginOptions = {},
): Promise<RawOrigin> {
  const connections: OriginConnection[] = [];
  const failures: unknown[] = [];
  const accept = async (socket: net.Socket) => {
    const connection = new OriginConnection(socket, connections.length);
    connections.push(connection);
    try {
      await script(connection);
    } catch (error) {
      // A script that was waiting when the test ended is no failure.
      if (!socket.destroyed) failures.push(error);
    } finally {
      if (!socket.destroyed) socket.destroySoon();
    }
  };
  const server = options.tls === undefined
    ? net.createServer({ allowHalfOpen: true, noDelay: true }, accept)
    : tls.createServer({ noDelay: true, ...options.tls }, accept);
  if (options.tls !== undefined) server.on("tlsClientError", () => {});
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    if (options.path !== undefined) server.listen(options.path, resolve);
    else server.listen(0, "127.0.0.1", resolve);
  });
  return new RawOrigin(server, connections, failures);
}

/** Writes a response with a Content-Length. */
export function response(
  body: string,
  fields: Readonly<Record<string, string>> = {},
  status: string = "200 OK",
): string {
  const lines = Object.entries({ "Content-Length": String(body.length), ...fields });
  return `HTTP/1.1 ${status}\r\n${
    lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")
  }\r\n${body}`;
}
