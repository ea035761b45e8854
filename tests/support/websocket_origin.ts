/**
 * An origin with real WebSockets (`ws`), over HTTP/1.1 or over HTTP/2 in clear text (RFC 8441).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";

/** What the origin speaks: HTTP/1.1 or HTTP/2 in clear text, or HTTP/2 over TLS. */
export type WebSocketWire = "h1" | "h2c" | "h2";

/** What the origin knows of its WebSockets. */
export interface WebSocketOrigin extends AsyncDisposable {
  readonly port: number;
  /** Codes and reasons of those that are over. */
  readonly closed: string[];
  /** Fields of the handshakes. */
  readonly heads: Record<string, unknown>[];
  readonly pings: string[];
}

/**
 * Starts an origin that echoes what it is told, and does what some words say: `close`, `break`, `ping`.
 *
 * @param options `extended`: whether an HTTP/2 origin offers extended CONNECT. `certificate`: for `h2`.
 */
export async function startWebSocketOrigin(
  wire: WebSocketWire,
  options: {
    readonly extended?: boolean;
    readonly certificate?: { readonly cert: string; readonly key: string };
  } = {},
): Promise<WebSocketOrigin> {
  const closed: string[] = [];
  const heads: Record<string, unknown>[] = [];
  const pings: string[] = [];
  const sockets = new Set<net.Socket>();
  // deno-lint-ignore no-explicit-any
  const serve = (ws: any, stream: Duplex & { close?: (code: number) => void }) => {
    ws.on("message", (data: Buffer, binary: boolean) => {
      switch (String(data)) {
        case "close":
          return ws.close(4002, "as you wish");
        case "break":
          return stream.close === undefined ? stream.destroy() : stream.close(2);
        case "ping":
          return ws.ping("from the server");
        default:
          ws.send(data, { binary });
      }
    });
    ws.on("ping", (data: Buffer) => pings.push(String(data)));
    ws.on("error", () => {});
    ws.on("close", (code: number, reason: Buffer) => closed.push(`${code} ${reason}`));
  };
  const settings = { enableConnectProtocol: options.extended ?? true };
  const server = wire === "h1"
    ? http.createServer()
    : wire === "h2c"
    ? http2.createServer({ settings })
    : http2.createSecureServer({ settings, ...options.certificate });
  const keep = (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  };
  server.on("connection", keep);
  server.on("secureConnection", keep);
  server.on("sessionError", () => {});
  if (wire === "h1") {
    const sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: true,
      handleProtocols: (offered: Set<string>) => offered.has("chat") ? "chat" : false,
    });
    server.on("upgrade", (request: http.IncomingMessage, socket: Duplex, head: Buffer) => {
      heads.push({ ...request.headers });
      if (request.url!.includes("refuse")) {
        socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        return;
      }
      // deno-lint-ignore no-explicit-any
      sockets.handleUpgrade(request, socket, head, (ws: any) => serve(ws, socket));
    });
  } else {
    server.on("stream", (stream: http2.ServerHttp2Stream, fields: http2.IncomingHttpHeaders) => {
      heads.push({ ...fields });
      stream.on("error", () => {});
      if (fields[":protocol"] !== "websocket") return void stream.respond({ ":status": 404 });
      if (fields[":path"]!.includes("refuse")) {
        stream.respond({ ":status": 403 });
        return void stream.end("no");
      }
      const asked = fields["sec-websocket-protocol"];
      stream.respond({
        ":status": 200,
        ...(asked === undefined ? {} : { "sec-websocket-protocol": "chat" }),
      });
      // deno-lint-ignore no-explicit-any
      const ws = new (WebSocket as any)(null, undefined, { autoPong: true, closeTimeout: 30_000 });
      ws.setSocket(stream, Buffer.alloc(0), { maxPayload: 64 * 1024 * 1024 });
      serve(ws, stream);
    });
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    closed,
    heads,
    pings,
    async [Symbol.asyncDispose]() {
      const over = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await over;
    },
  };
}
