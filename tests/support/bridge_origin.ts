/**
 * One origin in every version of HTTP, made of Node's servers: what it does is the path, whatever carried the request.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";

/** How a side speaks: HTTP/1.1 or HTTP/2 in clear text, or HTTP/2 over TLS. */
export type Wire = "h1" | "h2c" | "h2";

/** A certificate with its key, PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A running origin. */
export interface BridgeOrigin extends AsyncDisposable {
  /** `http://127.0.0.1:port`, or `https`. */
  readonly url: string;
  /** What became of the requests, in order: `ended` or `aborted`, with the path. */
  readonly seen: string[];
}

/** What the origin tells of a request. */
export interface Told {
  readonly method: string;
  readonly path: string;
  readonly version: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
}

type Request = http.IncomingMessage & { readonly stream?: http2.ServerHttp2Stream };
type Response = http.ServerResponse & { readonly stream?: http2.ServerHttp2Stream };

/** Content of so many bytes that nobody makes by chance: the same for the same place in it. */
export function pattern(from: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = (from + i) * 2654435761 >>> 13 & 255;
  return out;
}

/** The SHA-256 of content, in hexadecimal. */
export function sha256(...pieces: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}

/** Starts an origin. */
export async function startBridgeOrigin(
  wire: Wire,
  certificate: Certificate | null,
): Promise<BridgeOrigin> {
  const seen: string[] = [];
  const sockets = new Set<net.Socket>();
  const handler = (request: unknown, response: unknown) => {
    serve(request as Request, response as Response, seen);
  };
  const server = wire === "h1"
    ? http.createServer(handler)
    : wire === "h2c"
    ? http2.createServer(handler)
    : http2.createSecureServer({ ...certificate! }, handler);
  const keep = (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  };
  server.on("connection", keep);
  server.on("secureConnection", keep);
  server.on("sessionError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  return {
    url: `${wire === "h2" ? "https" : "http"}://127.0.0.1:${port}`,
    seen,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function serve(request: Request, response: Response, seen: string[]): void {
  const path = request.url!;
  let over = false;
  const note = (what: string) => {
    if (over) return;
    over = true;
    seen.push(`${what} ${path}`);
  };
  request.on("aborted", () => note("aborted"));
  request.on("error", () => note("aborted"));
  response.on("error", () => {});
  response.on("close", () => note(response.writableFinished ? "ended" : "aborted"));
  const [, what, amount] = path.split("/");
  switch (what) {
    case "bytes":
      return send(response, Number(amount));
    case "trailers":
      response.writeHead(200, { "Content-Type": "text/plain", "Trailer": "X-Check" });
      response.write("with trailers");
      response.addTrailers({ "X-Check": "yes" });
      response.end();
      return;
    case "empty":
      response.writeHead(204);
      response.end();
      return;
    case "early":
      // Answers, and has no use for the content.
      response.writeHead(403, { "Content-Type": "text/plain", "Content-Length": "8" });
      response.end("too much");
      return;
    case "reset":
      // Half of it, and then no more.
      response.writeHead(200, { "Content-Type": "text/plain" });
      response.write(Buffer.from(pattern(0, 10_000)), () => breakOff(request));
      return;
    case "reset_first":
      return breakOff(request);
    case "hang":
      request.resume();
      response.writeHead(200, { "Content-Type": "text/plain" });
      response.write("begun");
      return;
    case "echo":
      response.writeHead(200, { "Content-Type": "application/octet-stream" });
      request.pipe(response);
      return;
    default:
      return tell(request, response);
  }
}

function send(response: Response, bytes: number): void {
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Content-Length": String(bytes),
  });
  let sent = 0;
  const more = () => {
    while (sent < bytes) {
      const piece = pattern(sent, Math.min(64 * 1024, bytes - sent));
      sent += piece.length;
      if (!response.write(Buffer.from(piece))) {
        response.once("drain", more);
        return;
      }
    }
    response.end();
  };
  more();
}

function tell(request: Request, response: Response): void {
  const hash = createHash("sha256");
  let bytes = 0;
  request.on("data", (piece: Buffer) => {
    bytes += piece.length;
    hash.update(piece);
  });
  request.on("end", () => {
    const told: Told = {
      method: request.method!,
      path: request.url!,
      version: request.httpVersion,
      bytes,
      sha256: hash.digest("hex"),
      headers: plain(request.headers),
      trailers: plain(request.trailers),
    };
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(told));
  });
}

function breakOff(request: Request): void {
  if (request.stream !== undefined) request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
  else request.socket.destroy();
}

function plain(fields: http.IncomingHttpHeaders | NodeJS.Dict<string>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
