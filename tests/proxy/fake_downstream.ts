/**
 * A client's side of a request that exists only in memory.
 *
 * @module
 */
import { Fields } from "../../src/http/fields.ts";
import { RequestHead, type Version } from "../../src/http/message.ts";
import type { DownstreamSession } from "../../src/http/session.ts";

/** What a fake request looks like. */
export interface FakeRequest {
  readonly method?: string;
  readonly target?: string;
  readonly version?: Version;
  readonly fields?: readonly (readonly [string, string])[];
  readonly remote?: string;
  /** Content, in the pieces it comes in. */
  readonly pieces?: readonly string[];
  /** Whether each piece has to be waited for. */
  readonly slow?: boolean;
  readonly contentLength?: number;
  readonly upgrade?: string;
  readonly acceptsTrailers?: boolean;
}

/** Makes the parts of a downstream session that reading a request needs. */
export function fakeDownstream(request: FakeRequest = {}): DownstreamSession {
  const pieces = (request.pieces ?? []).map((text) => new TextEncoder().encode(text));
  // One buffer for all pieces, as a codec has it: a piece is gone when the next is read.
  const buffer = new Uint8Array(1024);
  const session = {
    head: new RequestHead({
      method: request.method ?? "GET",
      version: request.version ?? 11,
      target: request.target ?? "/",
      fields: Fields.from(request.fields ?? [["Host", "example.com"]]),
    }),
    connection: {
      id: 1,
      remote: { kind: "tcp", host: request.remote ?? "192.0.2.7", port: 4711 },
      local: { kind: "tcp", host: "127.0.0.1", port: 80 },
      tls: null,
      since: 0,
    },
    contentLength: request.contentLength ??
      (pieces.length === 0 ? 0 : pieces.reduce((sum, piece) => sum + piece.length, 0)),
    bodyDone: pieces.length === 0,
    bodyBytes: 0,
    trailers: null,
    upgrade: request.upgrade ?? "",
    acceptsTrailers: request.acceptsTrailers ?? false,
    readBody(): Uint8Array | Promise<Uint8Array> {
      const piece = pieces.shift();
      session.bodyDone = pieces.length === 0;
      if (piece === undefined) return new Uint8Array(0);
      buffer.fill(0);
      buffer.set(piece);
      session.bodyBytes += piece.length;
      const view = buffer.subarray(0, piece.length);
      return request.slow ? Promise.resolve(view) : view;
    },
  };
  return session as unknown as DownstreamSession;
}
