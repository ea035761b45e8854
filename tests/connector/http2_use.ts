/**
 * Exchanges with HTTP/2 origins through a connector, as tests make them.
 *
 * @module
 */
import { ProxyError } from "../../src/base/error.ts";
import type { Http2PeerOptions } from "../../src/connector/http2_options.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerOptions } from "../../src/connector/peer.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, type ResponseHead } from "../../src/http/message.ts";
import { type Framing, NO_CONTENT, type UpstreamSession } from "../../src/http/session.ts";
import type { Http2Origin } from "../support/http2_origin.ts";

/** A peer that speaks HTTP/2 in clear text. */
export function h2cPeer(
  origin: Http2Origin | number,
  http2: Partial<Http2PeerOptions> = {},
  options: Partial<PeerOptions> = {},
): Peer {
  const port = typeof origin === "number" ? origin : origin.port;
  return createPeer({
    address: { kind: "tcp", host: "127.0.0.1", port },
    options: { ...PEER_OPTIONS, protocol: "h2c", http2, ...options },
  });
}

/** A request head. */
export function head(
  method = "GET",
  target = "/",
  fields: readonly (readonly [string, string])[] = [],
): RequestHead {
  return new RequestHead({
    method,
    version: 11,
    target,
    fields: Fields.from([["Host", "origin.test"], ...fields]),
  });
}

/** Sends a head. */
export async function send(
  session: UpstreamSession,
  request: RequestHead = head(),
  framing: Framing = NO_CONTENT,
): Promise<void> {
  session.writeHead(request, framing);
  await session.flush();
}

/** The final head. */
export async function finalHead(session: UpstreamSession): Promise<ResponseHead> {
  let one = await session.readHead();
  while (one.informational) one = await session.readHead();
  return one;
}

/** All content that is left. */
export async function content(session: UpstreamSession): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  while (!session.bodyDone) {
    const piece = (await session.readBody()).slice();
    pieces.push(piece);
    size += piece.length;
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Reads a response as `status text`. */
export async function answer(session: UpstreamSession): Promise<string> {
  const { status } = await finalHead(session);
  return `${status} ${new TextDecoder().decode(await content(session))}`;
}

/** The error that something fails with. */
export async function failure(work: Promise<unknown>): Promise<ProxyError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ProxyError) return error;
    throw error;
  }
  throw new Error("It did not fail");
}

/** Bytes that differ at every place, the same for the same length. */
export function bytes(length: number): Uint8Array {
  const all = new Uint8Array(length);
  for (let i = 0; i < length; i++) all[i] = (i * 31 + (i >>> 8) * 7) & 255;
  return all;
}
