/**
 * What crosses between a service worker and a plugin's sandbox, and how large it may be.
 *
 * Each message is a flat array that begins with its kind. All messages of one turn of the event loop go out as
 * one piece. What comes out of a sandbox is data of a stranger: nothing of it is used before it was checked.
 *
 * @module
 */
import type { Section } from "../plugin/handler.ts";
import { PHASE_NAMES, type PhaseName, phaseRow } from "../plugin/phases.ts";

// Service worker to sandbox.
/** `[CALL, call, use, phase, session, first, second]` */
export const CALL = 1;
/** `[CANCEL, call]`: nobody waits for this call any more. */
export const CANCEL = 2;
/** `[BODY, call, bytes | null, error]`: the answer to READ_BODY. */
export const BODY = 3;
/** `[PING, number]`: asked when a call missed its deadline. */
export const PING = 4;

// Sandbox to service worker.
/** `[DONE, call, effects | null, result]` */
export const DONE = 11;
/** `[FAILED, call, message]`: the hook threw. */
export const FAILED = 12;
/** `[READ_BODY, call, limit | undefined]` */
export const READ_BODY = 13;
/** `[PONG, number]` */
export const PONG = 14;

// Effects: four entries each, the code and up to three arguments.
/** Section, name, value. */
export const SET = 1;
/** Section, name, value. */
export const APPEND = 2;
/** Section, name. */
export const DELETE = 3;
/** Of the request to the upstream. */
export const METHOD = 4;
/** Of the request to the upstream. */
export const TARGET = 5;
/** Of the response. */
export const STATUS = 6;
/** Name, value. */
export const VAR_SET = 7;
/** Name. */
export const VAR_DELETE = 8;
/** Whether another attempt is made. */
export const RETRY = 9;
/** The plugin does not want to see the content of this response. */
export const SKIP_BODY = 10;
/** Entries per effect. */
export const EFFECT = 4;

/** Field sections by their number on the wire. */
export const SECTIONS: readonly Section[] = [
  "request",
  "upstream_request",
  "upstream_response",
  "response",
  "trailers",
];
export const NO_SECTION = -1;
export const UPSTREAM_REQUEST = 1;
export const UPSTREAM_RESPONSE = 2;
export const RESPONSE = 3;
export const TRAILERS = 4;

/** Effects of one call. */
export const MAX_EFFECTS = 1000;
/** Characters and bytes that the effects of one call hold together. */
export const MAX_EFFECT_BYTES: number = 1024 * 1024;
/** Content of an answer that a hook makes. */
export const MAX_REPLY_BYTES: number = 8 * 1024 * 1024;
/** Fields of such an answer. */
export const MAX_REPLY_FIELDS = 200;
/** A piece of content that a body filter returns. */
export const MAX_CHUNK_BYTES: number = 8 * 1024 * 1024;
/** A var, a kept value, or the fields of a log line. */
export const MAX_VALUE_BYTES: number = 64 * 1024;
/** The name of a var. */
export const MAX_NAME = 256;
/** Error messages and log lines. */
export const MAX_TEXT = 4096;
/** What a sandbox may send in one frame: the largest reply, and room for its fields. */
export const MAX_FRAME_FROM_SANDBOX: number = 10 * 1024 * 1024;
/** What the core may send in one frame. It is trusted; the bound only catches a broken stream. */
export const MAX_FRAME_TO_SANDBOX: number = 1024 * 1024 * 1024;

/** What a hook may return, as {@linkcode checkResult} knows it. */
export type ResultKind =
  | "none"
  | "verdict"
  | "reply"
  | "reply_or_false"
  | "boolean"
  | "chunk"
  | "text"
  | "texts"
  | "hit"
  | "ranges"
  | "storable"
  | "peer"
  | "certificate"
  | "value";

/** What the third and fourth arguments of a hook are. */
export type ExtraKind = "none" | "chunk" | "failure" | "value";

/** How a phase looks on the wire. */
export interface PhaseShape {
  readonly phase: PhaseName;
  readonly number: number;
  readonly session: "none" | "connection" | "request";
  /** The section that the hook sees beside the request, or {@linkcode NO_SECTION}. */
  readonly section: number;
  /** Whether it may change that section. */
  readonly mutable: boolean;
  /** Whether `readBody` is there. */
  readonly body: boolean;
  /** Whether the request is over, so that its end cannot cancel the call. */
  readonly over: boolean;
  readonly extra: ExtraKind;
  /** Whether `failure.retry` may be set. */
  readonly retry: boolean;
  readonly result: ResultKind;
}

interface ShapeRow {
  readonly result?: ResultKind;
  readonly section?: number;
  readonly session?: "none" | "connection";
  readonly body?: true;
  readonly over?: true;
  readonly extra?: ExtraKind;
}

const REQUEST: ShapeRow = { section: UPSTREAM_REQUEST, body: true };
const CHUNK: ShapeRow = { result: "chunk", extra: "chunk" };

const ROWS: Record<PhaseName, ShapeRow> = {
  connectionFilter: { session: "connection", result: "verdict" },
  certificate: { session: "none", extra: "value", result: "certificate" },
  onConnectionReuse: { extra: "value" },
  earlyRequestFilter: { ...REQUEST, result: "reply" },
  allowSpawningSubrequest: { result: "boolean" },
  requestFilter: { ...REQUEST, result: "reply" },
  requestCacheFilter: REQUEST,
  cacheKey: { result: "texts" },
  isPurge: { result: "boolean" },
  purgeResponseFilter: { section: RESPONSE },
  cacheVaryFilter: { result: "text" },
  cacheHitFilter: { result: "hit" },
  cacheNotModifiedFilter: { section: RESPONSE, result: "boolean" },
  rangeHeaderFilter: { section: RESPONSE, result: "ranges" },
  shouldServeStale: { extra: "failure", result: "boolean" },
  proxyUpstreamFilter: { ...REQUEST, result: "reply_or_false" },
  upstreamPeer: { result: "peer" },
  failToConnect: { extra: "failure" },
  connectedToUpstream: {},
  upstreamRequestFilter: { section: UPSTREAM_REQUEST },
  requestBodyFilter: CHUNK,
  upstreamResponseFilter: { section: UPSTREAM_RESPONSE },
  upstreamResponseBodyFilter: { ...CHUNK, section: UPSTREAM_RESPONSE },
  upstreamResponseTrailerFilter: { section: TRAILERS },
  responseCacheFilter: { section: UPSTREAM_RESPONSE, result: "storable" },
  cacheMiss: {},
  responseFilter: { section: RESPONSE },
  responseBodyFilter: { ...CHUNK, section: RESPONSE },
  responseTrailerFilter: { section: TRAILERS },
  errorWhileProxy: { extra: "failure" },
  failToProxy: { extra: "failure", result: "reply" },
  suppressErrorLog: { extra: "failure", result: "boolean" },
  requestSummary: { result: "text" },
  logging: { over: true },
  persistConnectionContext: { over: true, result: "value" },
  upstreamHealth: { session: "none", extra: "value" },
  tick: { session: "none" },
};

/** The shapes of all phases, by number. */
export const SHAPES: readonly PhaseShape[] = PHASE_NAMES.map((phase, number) => {
  const row = ROWS[phase];
  const section = row.section ?? NO_SECTION;
  const mutates = phaseRow(phase).mutates as readonly string[];
  return {
    phase,
    number,
    session: row.session ?? "request",
    section,
    mutable: section !== NO_SECTION && mutates.includes(SECTIONS[section]!),
    body: row.body ?? false,
    over: row.over ?? false,
    extra: row.extra ?? "none",
    retry: mutates.includes("failure"),
    result: row.result ?? "none",
  };
});

const BY_NAME = new Map(SHAPES.map((shape) => [shape.phase, shape]));

/** The shape of a phase. */
export function shapeOf(phase: PhaseName): PhaseShape {
  return BY_NAME.get(phase)!;
}

/** Something came out of a sandbox that no honest plugin sends. */
export class ProtocolError extends Error {
  override readonly name: string = "ProtocolError";
}
