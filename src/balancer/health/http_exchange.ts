/**
 * A request of our own accord and its answer, over the transport that traffic takes.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import { Connector, type ConnectorOptions } from "../../connector/connector.ts";
import type { Peer } from "../../connector/peer.ts";
import { Fields } from "../../http/fields.ts";
import { RequestHead } from "../../http/message.ts";
import { NO_CONTENT, type UpstreamSession } from "../../http/session.ts";
import type { Run } from "./bounded_run.ts";

/** What to ask for. */
export interface OwnRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** All fields, Host too. */
  readonly fields: readonly (readonly [string, string])[];
  /** Content. Default: none. */
  readonly content?: Uint8Array;
  /** Names, in lower case, of the response fields and trailers to keep. Default: none. */
  readonly keep?: readonly string[];
}

/** What is read of an answer. */
export interface OwnAnswer {
  readonly status: number;
  /** Those to keep, by name; a trailer over a field of the head. */
  readonly fields: ReadonlyMap<string, string>;
  /** The content, up to the limit. */
  readonly content: Uint8Array;
  /** Whether there is more content than the limit lets through; `false` if none was read. */
  readonly truncated: boolean;
}

/** What carries requests of our own: the same as carries the traffic. */
export type ExchangeTools = Pick<
  ConnectorOptions,
  "wheel" | "limits" | "chunkLimits" | "clearTextEngine" | "resolver"
>;

/** Most connections kept for a next request. */
const POOL_SIZE = 1024;

/** Makes the connector for requests of our own; apart from that of the traffic, so that neither waits for the other. */
export function ownConnector(tools: ExchangeTools): Connector {
  const { wheel, limits, chunkLimits, clearTextEngine, resolver } = tools;
  return new Connector({
    wheel,
    poolSize: POOL_SIZE,
    limits,
    chunkLimits,
    clearTextEngine,
    ...(resolver === undefined ? {} : { resolver }),
  });
}

/**
 * Sends a request and reads its answer.
 *
 * @param limit Bytes of content to read; `0`: none, and the answer counts as whole with its head.
 * @throws {ProxyError} Why there is no answer, or what `run` gives as its reason.
 */
export async function exchange(
  connector: Connector,
  peer: Peer,
  request: OwnRequest,
  limit: number,
  run: Run,
): Promise<OwnAnswer> {
  try {
    return await attempt(connector, peer, request, limit, run, false);
  } catch (error) {
    // A kept connection that the other side has closed says nothing of its health.
    if (run.signal.aborted || !(error instanceof ProxyError) || error.retry !== true) throw error;
    return await attempt(connector, peer, request, limit, run, true);
  }
}

async function attempt(
  connector: Connector,
  peer: Peer,
  request: OwnRequest,
  limit: number,
  run: Run,
  fresh: boolean,
): Promise<OwnAnswer> {
  const { signal } = run;
  const { content } = request;
  run.timeoutType = "connect_timeout";
  const session = await connectOnce(connector, peer, request, signal, fresh);
  run.timeoutType = "first_byte_timeout";
  const giveUp = () => session.abort(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    if (signal.aborted) throw signal.reason;
    session.writeHead(
      new RequestHead({
        method: request.method,
        version: 11,
        target: request.target,
        fields: Fields.from(request.fields),
      }),
      content === undefined ? NO_CONTENT : { kind: "length", length: content.length },
    );
    if (content === undefined) await session.flush();
    else await session.writeBody(content, true);
    const answer = await readAnswer(session, request.keep ?? [], limit, run);
    session.release();
    return answer;
  } catch (error) {
    const told = ProxyError.wrap(error, "internal_error", `Asking ${peer.label}`, "upstream");
    told.decideRetry(session.reused);
    session.abort(told);
    throw told;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

/** Connects; what could not be connected to must not be tried at once a second time. */
async function connectOnce(
  connector: Connector,
  peer: Peer,
  request: OwnRequest,
  signal: AbortSignal,
  fresh: boolean,
): Promise<UpstreamSession> {
  try {
    return await connector.connect(peer, request.method, signal, fresh);
  } catch (error) {
    const told = ProxyError.wrap(error, "connect_error", `Asking ${peer.label}`, "upstream");
    told.retry = false;
    throw told;
  }
}

async function readAnswer(
  session: UpstreamSession,
  keep: readonly string[],
  limit: number,
  run: Run,
): Promise<OwnAnswer> {
  let head = await session.readHead();
  while (head.informational) head = await session.readHead();
  run.timeoutType = "read_timeout";
  const { status } = head;
  const fields = new Map<string, string>();
  pick(head.fields, keep, fields);
  const pieces: Uint8Array[] = [];
  let size = 0;
  let truncated = false;
  // After a 101 there is no content, but another protocol.
  while (limit > 0 && status !== 101 && !session.bodyDone) {
    const piece = await session.readBody();
    const room = limit - size;
    if (piece.length > room) truncated = true;
    const kept = piece.subarray(0, Math.min(room, piece.length));
    if (kept.length > 0) pieces.push(kept.slice());
    size += kept.length;
    if (truncated) break;
  }
  if (session.trailers !== null) pick(session.trailers, keep, fields);
  return { status, fields, content: join(pieces, size), truncated };
}

function pick(from: Fields, names: readonly string[], to: Map<string, string>): void {
  for (const name of names) {
    const value = from.get(name);
    if (value !== null) to.set(name, value);
  }
}

function join(pieces: readonly Uint8Array[], size: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const all = new Uint8Array(size);
  let position = 0;
  for (const piece of pieces) {
    all.set(piece, position);
    position += piece.length;
  }
  return all;
}
