/**
 * An HTTP/1.1 origin whose answers are chosen by the path.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type FieldLines, type RawRequest, readBody } from "./http_text.ts";
import {
  type OriginConnection,
  type RawOrigin,
  type RawOriginOptions,
  startRawOrigin,
} from "./raw_origin.ts";
import { latin1 } from "./wire.ts";

/** What `/request` answers: the request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly fields: FieldLines;
  readonly body: string;
  readonly trailers: FieldLines;
  readonly framing: string;
  /** Which connection of the origin it came on, from 0, and which request of that it was, from 1. */
  readonly connection: number;
  readonly number: number;
  /** Address of the proxy's end. */
  readonly peer: string;
}

/** How the origin differs from a well-behaved one. */
export interface SimpleOriginOptions extends RawOriginOptions {
  /** Drops a connection when a further request arrives after so many: a pooled connection that turned out dead. */
  readonly dropAfter?: number;
  /** Answers like this instead: `null` closes the connection, `undefined` leaves it to the path. */
  readonly handler?: (
    request: RawRequest,
    connection: OriginConnection,
  ) => Promise<string | null | undefined> | string | null | undefined;
}

/** A running origin with counts. */
export interface SimpleOrigin extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly address: string;
  /** Every request whose head and body arrived, in order. */
  readonly requests: readonly RawRequest[];
  /** Requests for a target that arrived. */
  count(target: string): number;
  readonly raw: RawOrigin;
}

/**
 * Starts an origin.
 *
 * - `/request` the request as JSON, see {@linkcode SeenRequest}
 * - `/echo` the content of the request, framed as the request was
 * - `/bytes/N`, `/chunked/N` content of N bytes, see {@linkcode pattern}
 * - `/delay/MS` an answer after so long
 * - `/status/N` that status, empty
 * - `/trailers` chunked content and the trailer `X-Checksum`
 * - `/early-hints` a 103, then 200
 * - `/close` an answer that says `Connection: close`
 * - `/drop` nothing: the connection is closed
 * - `/websocket` a WebSocket that sends back what it gets
 * - anything else: `hello`
 */
export async function startSimpleOrigin(options: SimpleOriginOptions = {}): Promise<SimpleOrigin> {
  const requests: RawRequest[] = [];
  const raw = await startRawOrigin(async (connection) => {
    for (
      let number = 1;
      connection.buffered.length > 0 || await connection.fill(120_000);
      number++
    ) {
      if (options.dropAfter !== undefined && number > options.dropAfter) {
        // Unread bytes would make this a reset; a clean close is the harder case for the proxy.
        await connection.head();
        return;
      }
      const head = await connection.head();
      const request = { ...head, ...await readBody(connection, head.fields, "none", 60_000) };
      requests.push(request);
      const own = await options.handler?.(request, connection);
      if (own === null) return;
      if (own !== undefined) {
        await connection.send(own);
        continue;
      }
      if (!await answer(request, connection, number)) return;
    }
  }, options);
  return {
    port: raw.port,
    url: raw.url,
    address: raw.address,
    requests,
    count: (target) => requests.filter((request) => request.target === target).length,
    raw,
    [Symbol.asyncDispose]: () => raw[Symbol.asyncDispose](),
  };
}

/** Content of `/bytes/N`: the same for the same N, and different at every place. */
export function pattern(length: number): string {
  let out = "";
  for (let i = 0; out.length < length; i++) out += `${i.toString(36)}.`;
  return out.slice(0, length);
}

/** Answers by path; `false` when the connection is to be closed. */
async function answer(
  request: RawRequest,
  connection: OriginConnection,
  number: number,
): Promise<boolean> {
  const [, verb, argument] = request.target.split("?")[0]!.split("/");
  const head = request.method === "HEAD";
  const send = (body: string, fields: string = "", status: string = "200 OK") =>
    connection.send(
      `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n${fields}\r\n${head ? "" : body}`,
    );
  switch (verb) {
    case "request":
      await send(
        JSON.stringify(seen(request, connection, number)),
        "Content-Type: application/json\r\n",
      );
      return true;
    case "echo": {
      const body = latin1(request.body);
      if (request.framing === "chunked") {
        await connection.send(
          `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks(body)}`,
        );
      } else await send(body);
      return true;
    }
    case "bytes":
      await send(pattern(Number(argument)));
      return true;
    case "chunked":
      await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      if (!head) await connection.send(chunks(pattern(Number(argument))));
      return true;
    case "delay":
      await new Promise((resolve) => setTimeout(resolve, Number(argument)));
      await send("late");
      return true;
    case "status":
      if (argument === "204" || argument === "304") {
        await connection.send(`HTTP/1.1 ${argument} Some Reason\r\n\r\n`);
      } else await send("", "", `${argument} Some Reason`);
      return true;
    case "trailers":
      await connection.send(
        "HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n" +
          "5\r\nhello\r\n0\r\nX-Checksum: 42\r\n\r\n",
      );
      return true;
    case "early-hints":
      await connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
      await send("hinted");
      return true;
    case "close":
      await send("closing", "Connection: close\r\n");
      return false;
    case "drop":
      return false;
    case "websocket":
      await serveWebSocket(request, connection);
      return false;
    default:
      await send("hello");
      return true;
  }
}

function seen(request: RawRequest, connection: OriginConnection, number: number): SeenRequest {
  const { method, target, version, fields, trailers, framing } = request;
  return {
    ...{ method, target, version, fields, trailers, framing, number },
    body: latin1(request.body),
    connection: connection.index,
    peer: connection.socket.remoteAddress ?? "",
  };
}

function chunks(body: string): string {
  const middle = Math.ceil(body.length / 2);
  return [body.slice(0, middle), body.slice(middle)].filter((piece) => piece !== "")
    .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("") + "0\r\n\r\n";
}

/** The key that a WebSocket server answers with (RFC 6455 §4.2.2). */
export function webSocketAccept(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** Makes an unmasked frame, as servers send it; short payloads only. */
export function serverFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + payload.length);
  out[0] = 0x80 | opcode;
  out[1] = payload.length;
  out.set(payload, 2);
  return out;
}

/** Reads a frame of up to 65,535 bytes, masked or not. */
export async function readFrame(
  from: { take(count: number): Promise<Uint8Array> },
): Promise<{ opcode: number; payload: Uint8Array }> {
  const head = await from.take(2);
  const opcode = head[0]! & 0x0f;
  const masked = (head[1]! & 0x80) !== 0;
  let length = head[1]! & 0x7f;
  if (length === 126) {
    const more = await from.take(2);
    length = more[0]! << 8 | more[1]!;
  }
  const mask = masked ? (await from.take(4)).slice() : null;
  const payload = (await from.take(length)).slice();
  if (mask !== null) { for (let i = 0; i < length; i++) payload[i]! ^= mask[i & 3]!; }
  return { opcode, payload };
}

async function serveWebSocket(request: RawRequest, connection: OriginConnection): Promise<void> {
  const key = request.fields.find(([name]) => name.toLowerCase() === "sec-websocket-key")?.[1] ??
    "";
  await connection.send(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      `Sec-WebSocket-Accept: ${webSocketAccept(key)}\r\n\r\n`,
  );
  // A client may be silent for as long as another process takes to start on a busy machine.
  while (connection.buffered.length > 0 || await connection.fill(120_000)) {
    const { opcode, payload } = await readFrame(connection);
    const word = latin1(payload);
    if (opcode === 8 || word === "server closes") {
      await connection.send(serverFrame(8, new Uint8Array([0x03, 0xe8])));
      connection.end();
      await connection.whenEnded();
      return;
    }
    if (word === "server breaks") {
      connection.reset();
      return;
    }
    await connection.send(serverFrame(opcode, payload));
  }
}
