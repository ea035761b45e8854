/**
 * A client that sends exactly the bytes it is given.
 *
 * @module
 */
import net from "node:net";
import { DEADLINE, withDeadline } from "./deadline.ts";
import { type RawResponse, readFinal, readResponse } from "./http_text.ts";
import { Wire } from "./wire.ts";

/** Where to connect to: a port on 127.0.0.1, or a unix socket. */
export type Target = number | { readonly path: string } | { readonly port: number; from: string };

/** A connection to the proxy. */
export class RawClient extends Wire {
  /** Connects. */
  static async connect(to: Target): Promise<RawClient> {
    const socket = net.connect(
      typeof to === "number"
        ? { host: "127.0.0.1", port: to, allowHalfOpen: true }
        : "path" in to
        ? { path: to.path, allowHalfOpen: true }
        : { host: "127.0.0.1", port: to.port, localAddress: to.from, allowHalfOpen: true },
    );
    const client = new RawClient(socket);
    const connected = new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    await withDeadline(connected, DEADLINE, "a connection");
    socket.setNoDelay(true);
    return client;
  }

  /** Reads the next response, 1xx ones too. */
  response(method: string = "GET", ms?: number): Promise<RawResponse> {
    return readResponse(this, method, ms);
  }

  /** Reads to the next final response and gives all heads on the way, the final one last. */
  responses(method: string = "GET", ms?: number): Promise<RawResponse[]> {
    return readFinal(this, method, ms);
  }

  /** Sends a request and reads the final response. */
  async request(request: string | Uint8Array, method?: string, ms?: number): Promise<RawResponse> {
    const text = typeof request === "string" ? request : "";
    await this.send(request);
    const all = await this.responses(method ?? text.slice(0, text.indexOf(" ")), ms);
    return all[all.length - 1]!;
  }
}

/** One request on a connection of its own, which is closed afterwards. */
export async function rawRequest(
  to: Target,
  request: string | Uint8Array,
  method?: string,
  ms?: number,
): Promise<RawResponse> {
  await using client = await RawClient.connect(to);
  return await client.request(request, method, ms);
}

/** Writes a GET request. */
export function get(path: string, fields: Readonly<Record<string, string>> = {}): string {
  return request("GET", path, fields);
}

/** Writes a request with what a body needs; `Host: test.example` unless given. */
export function request(
  method: string,
  path: string,
  fields: Readonly<Record<string, string>> = {},
  body: string | null = null,
): string {
  const lines = Object.entries({
    Host: "test.example",
    ...(body === null ? {} : { "Content-Length": String(body.length) }),
    ...fields,
  });
  return `${method} ${path} HTTP/1.1\r\n${
    lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")
  }\r\n${body ?? ""}`;
}

/** Text as one chunk each, and the last chunk. */
export function chunked(...pieces: string[]): string {
  return [...pieces, ""].map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
}
