/**
 * What a hook in a sandbox gets to see, taken from the live session in one flat array.
 *
 * @module
 */
import type { HostSession } from "../plugin/handler.ts";
import type { ConnectionView, FailureView } from "../plugin/session.ts";
import type { ClientCertificate, TlsFacts } from "../transport/socket.ts";
import {
  NO_SECTION,
  type PhaseShape,
  SECTIONS,
  TRANSFER_FROM,
  UPSTREAM_REQUEST,
} from "./protocol.ts";

// Positions in the array.
export const ID = 0;
export const REQUEST_METHOD = 1;
export const REQUEST_TARGET = 2;
export const URL_TEXT = 3;
export const SCHEME = 4;
export const AUTHORITY = 5;
export const VERSION = 6;
export const BLOCK = 7;
export const CLIENT_ADDRESS = 8;
export const CLIENT_PORT = 9;
export const CLIENT_PEER = 10;
/** `null` or {@linkcode WireTls}. */
export const TLS = 11;
export const LISTENER = 12;
export const ROUTE = 13;
export const ATTEMPT = 14;
/** `null` or `[name, address, reused]` */
export const UPSTREAM = 15;
export const ELAPSED = 16;
/** `null` or `[name, value, …]` */
export const VARS = 17;
/** `[method, target, block]` for the upstream request, `[status, block]` for a response, `[block]` for trailers. */
export const SECTION = 18;
/** `[status, received, sent, attempts, duration, failure | null]` */
export const OUTCOME = 19;

/** Stands for "the same as the fields of the request". */
export const SAME_BLOCK = 0;

/** The session of a call as it is sent. */
export function takeSnapshot(
  shape: PhaseShape,
  session: HostSession | ConnectionView | null,
): unknown[] | null {
  if (shape.session === "none" || session === null) return null;
  if (shape.session === "connection") {
    const connection = session as ConnectionView;
    return [connection.address, connection.port, connection.listener];
  }
  const live = session as HostSession;
  const { request, client, upstream } = live;
  const tls = client.tls;
  const block = live.block("request") ?? "";
  return [
    live.id,
    request.method,
    request.target,
    request.url,
    request.scheme,
    request.authority,
    request.httpVersion,
    block,
    client.address,
    client.port,
    client.peer,
    tls === null ? null : takeTls(tls),
    live.listener,
    live.route,
    live.attempt,
    upstream === null ? null : [upstream.name, upstream.address, upstream.reused],
    live.elapsed,
    takeVars(live),
    shape.section === NO_SECTION ? null : takeSection(shape.section, live, block),
    shape.over ? takeOutcome(live) : null,
  ];
}

/** `TlsFacts` as it is sent. */
export type WireTls = [string, string, string, string, boolean, ClientCertificate | null];

function takeTls(tls: TlsFacts): WireTls {
  const { version, cipher, serverName, alpn, resumed, certificate } = tls;
  // One by one: what the core keeps beside the facts is not sent.
  return [version, cipher, serverName, alpn, resumed, certificate && { ...certificate }];
}

/** The facts that were sent. */
export function readTls(wire: WireTls): TlsFacts {
  const [version, cipher, serverName, alpn, resumed, certificate] = wire;
  return { version, cipher, serverName, alpn, resumed, certificate };
}

function takeVars(live: HostSession): unknown[] | null {
  let list: unknown[] | null = null;
  for (const name of live.varNames()) (list ??= []).push(name, live.vars.get(name));
  return list;
}

function takeSection(section: number, live: HostSession, requestBlock: string): unknown[] {
  const name = SECTIONS[section]!;
  const block = live.block(name) ?? "";
  if (section === UPSTREAM_REQUEST) {
    const { method, target } = live.upstreamRequest;
    return [method, target, block === requestBlock ? SAME_BLOCK : block];
  }
  if (name === "trailers") return [block];
  return [name === "response" ? live.response.status : live.upstreamResponse.status, block];
}

function takeOutcome(live: HostSession): unknown[] {
  const { outcome } = live;
  return [
    outcome.status,
    outcome.bytesReceived,
    outcome.bytesSent,
    outcome.attempts,
    outcome.duration,
    outcome.error === null ? null : takeFailure(outcome.error),
  ];
}

/** A failure as it is sent: type, source, message, status, retry. */
export function takeFailure(failure: FailureView & { readonly retry?: boolean }): unknown[] {
  return [failure.type, failure.source, failure.message, failure.status, failure.retry ?? null];
}

/**
 * A piece of content as it is sent. It is copied, because the caller's view is only good until it reads on.
 *
 * @returns The copy, which the caller may transfer if `length` is {@linkcode TRANSFER_FROM} or more.
 */
export function takeChunk(chunk: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(chunk);
}

/** Whether to move the memory of bytes instead of having it copied once more. */
export function worthMoving(bytes: Uint8Array): boolean {
  return bytes.byteLength >= TRANSFER_FROM;
}
