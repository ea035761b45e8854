/**
 * What a hook in a sandbox gets to see, written straight from the live session.
 *
 * The texts stand behind each other, a byte per character, and the field sections among them are copied as
 * they are. In the sandbox they stay bytes, and become a string or fields when somebody asks for them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Fields, latin1 } from "../http/fields.ts";
import type { HostSession } from "../plugin/handler.ts";
import type { ConnectionView, FailureView } from "../plugin/session.ts";
import type { ClientCertificate, TlsFacts } from "../transport/socket.ts";
import { SNAPSHOT, type ValueReader, writeListHead, writeValue } from "./codec.ts";
import type { FrameWriter } from "./frame_writer.ts";
import {
  CALL,
  NO_SECTION,
  type PhaseShape,
  ProtocolError,
  SECTIONS,
  TRAILERS,
  UPSTREAM_REQUEST,
} from "./protocol.ts";

// The texts, in order.
export const ID = 0;
export const REQUEST_METHOD = 1;
export const REQUEST_TARGET = 2;
export const SCHEME = 3;
export const AUTHORITY = 4;
export const VERSION = 5;
export const CLIENT_ADDRESS = 6;
export const CLIENT_PEER = 7;
export const LISTENER = 8;
export const ROUTE = 9;
export const UPSTREAM_NAME = 10;
export const UPSTREAM_ADDRESS = 11;
/** Method and target of the request to the upstream. */
export const SECTION_METHOD = 12;
export const SECTION_TARGET = 13;
/** The fields of the request, and those of the section that the phase is about. */
export const BLOCK = 14;
export const SECTION_BLOCK = 15;
const TEXTS = 16;

/** The length of a text that is `null`. */
const ABSENT = -1;

// Flags.
const IS_WIDE = 1;
const HAS_UPSTREAM = 2;
const IS_REUSED = 4;

/** How long flags, port, attempt, status, elapsed and the lengths are. */
const HEAD_BYTES = 1 + 4 + 4 + 4 + 8 + TEXTS * 4;

/** `TlsFacts` as they are sent. */
type WireTls = [string, string, string, string, boolean, ClientCertificate | null];

/** The texts of several calls are in one piece of memory: making one takes longer than filling it. */
const POOL = 16 * 1024;
/** Texts longer than this get memory of their own. */
const MAX_POOLED = 4096;
let pool = new Uint8Array(POOL);
let pooled = 0;

/** The session of a call, in the sandbox. */
export class Snapshot {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  /** Where the texts begin. */
  readonly #at: number;
  /** Where each text ends; negative: it is `null`, and begins where the next one does. */
  readonly #ends: readonly number[];
  readonly #flags: number;
  readonly port: number;
  readonly attempt: number;
  /** Of the response that the phase is about. */
  readonly status: number;
  /** Milliseconds. */
  readonly elapsed: number;
  readonly tls: TlsFacts | null;
  /** Name, value, name, value …, or `null`. */
  readonly vars: readonly unknown[] | null;
  /** `[status, received, sent, attempts, duration, failure | null]`, once the request is over. */
  readonly outcome: readonly unknown[] | null;

  constructor(reader: ValueReader) {
    this.#flags = reader.byte();
    this.port = reader.int();
    this.attempt = reader.int();
    this.status = reader.int();
    this.elapsed = reader.double();
    const ends: number[] = [];
    let end = 0;
    for (let i = 0; i < TEXTS; i++) {
      const length = reader.int();
      if (length !== ABSENT) end += length;
      ends.push(length === ABSENT ? ~end : end);
    }
    this.#ends = ends;
    const length = (this.#flags & IS_WIDE) === 0 ? end : end * 2;
    if (length > MAX_POOLED) {
      this.#bytes = reader.bytes(length);
      this.#at = 0;
    } else {
      if (pooled + length > pool.length) {
        pool = new Uint8Array(POOL);
        pooled = 0;
      }
      this.#bytes = pool;
      this.#at = pooled;
      reader.copy(pool, pooled, length);
      pooled += length;
    }
    this.tls = readTls(reader.value(0) as WireTls | null);
    this.vars = reader.value(0) as unknown[] | null;
    this.outcome = reader.value(0) as unknown[] | null;
  }

  /** One of the texts. */
  text(which: number): string {
    return this.textOrNull(which) ?? "";
  }

  /** One of the texts that may be missing. */
  textOrNull(which: number): string | null {
    const end = this.#ends[which]!;
    if (end < 0) return null;
    const start = this.#startOf(which);
    if ((this.#flags & IS_WIDE) === 0) {
      return latin1(this.#bytes, this.#at + start, this.#at + end);
    }
    const from = this.#at + start * 2;
    return Buffer.from(this.#bytes.buffer, from, (end - start) * 2).toString("utf16le");
  }

  /** One of the field sections. */
  fields(which: number): Fields {
    const end = this.#ends[which]!;
    if (end < 0 || (this.#flags & IS_WIDE) !== 0) return Fields.fromBlock(this.text(which));
    return Fields.fromLines(this.#bytes, this.#at + this.#startOf(which), this.#at + end);
  }

  #startOf(which: number): number {
    const before = which === 0 ? 0 : this.#ends[which - 1]!;
    return before < 0 ? ~before : before;
  }

  get hasUpstream(): boolean {
    return (this.#flags & HAS_UPSTREAM) !== 0;
  }

  get reused(): boolean {
    return (this.#flags & IS_REUSED) !== 0;
  }
}

/** Reads a {@linkcode Snapshot}; for `FrameReader`. */
export function readSnapshot(reader: ValueReader): Snapshot {
  return new Snapshot(reader);
}

/**
 * Writes a call as one frame.
 *
 * @throws {TypeError} If a var or an argument is no plain data. Nothing is written then.
 */
export function encodeCall(
  out: FrameWriter,
  id: number,
  use: number,
  shape: PhaseShape,
  session: HostSession | ConnectionView | null,
  first: unknown,
  second: unknown,
): void {
  out.begin();
  try {
    writeListHead(out, 7);
    writeValue(out, CALL);
    writeValue(out, id);
    writeValue(out, use);
    writeValue(out, shape.number);
    if (shape.session === "none" || session === null) writeValue(out, null);
    else if (shape.session === "request") writeSession(out, shape, session as HostSession);
    else {
      const { address, port, listener } = session as ConnectionView;
      writeValue(out, [address, port, listener]);
    }
    const failed = shape.extra === "failure" && first !== null && first !== undefined;
    writeValue(out, failed ? takeFailure(first as FailureView) : first);
    writeValue(out, second);
  } catch (error) {
    out.abandon();
    throw error;
  }
  out.end();
}

function writeSession(out: FrameWriter, shape: PhaseShape, live: HostSession): void {
  out.byte(SNAPSHOT);
  const start = out.position;
  if (!writeTexts(out, shape, live, false)) {
    out.position = start;
    writeTexts(out, shape, live, true);
  }
  const { tls } = live.client;
  writeValue(out, tls === null ? null : takeTls(tls));
  writeValue(out, takeVars(live));
  writeValue(out, shape.over ? takeOutcome(live) : null);
}

/** Writes head and texts; says whether all texts could be written narrow, if they had to. */
function writeTexts(
  out: FrameWriter,
  shape: PhaseShape,
  live: HostSession,
  wide: boolean,
): boolean {
  const { request, client, upstream } = live;
  const { section } = shape;
  const sent = section === UPSTREAM_REQUEST ? live.upstreamRequest : null;
  let flags = wide ? IS_WIDE : 0;
  if (upstream !== null) flags |= HAS_UPSTREAM | (upstream.reused ? IS_REUSED : 0);
  out.reserve(HEAD_BYTES);
  out.byte(flags);
  out.int(client.port);
  out.int(live.attempt);
  out.int(statusOf(section, live));
  out.double(live.elapsed);
  const lengths = out.position;
  out.position += TEXTS * 4;
  const block = live.fields("request");
  const sectionBlock = section === NO_SECTION ? null : live.fields(SECTIONS[section]!);
  const text = wide ? wideText : narrowText;
  return text(out, lengths, ID, live.id) &&
    text(out, lengths, REQUEST_METHOD, request.method) &&
    text(out, lengths, REQUEST_TARGET, request.target) &&
    text(out, lengths, SCHEME, request.scheme) &&
    text(out, lengths, AUTHORITY, request.authority) &&
    text(out, lengths, VERSION, request.httpVersion) &&
    text(out, lengths, CLIENT_ADDRESS, client.address) &&
    text(out, lengths, CLIENT_PEER, client.peer) &&
    text(out, lengths, LISTENER, live.listener) &&
    text(out, lengths, ROUTE, live.route) &&
    text(out, lengths, UPSTREAM_NAME, upstream === null ? null : upstream.name) &&
    text(out, lengths, UPSTREAM_ADDRESS, upstream === null ? null : upstream.address) &&
    text(out, lengths, SECTION_METHOD, sent === null ? null : sent.method) &&
    text(out, lengths, SECTION_TARGET, sent === null ? null : sent.target) &&
    writeBlock(out, lengths, BLOCK, block, wide) &&
    writeBlock(out, lengths, SECTION_BLOCK, sectionBlock, wide);
}

function statusOf(section: number, live: HostSession): number {
  if (section === NO_SECTION || section === UPSTREAM_REQUEST || section === TRAILERS) return 0;
  return SECTIONS[section] === "response" ? live.response.status : live.upstreamResponse.status;
}

function narrowText(out: FrameWriter, lengths: number, which: number, text: string | null) {
  out.intAt(lengths + which * 4, text === null ? ABSENT : text.length);
  return text === null || out.narrow(text);
}

function wideText(out: FrameWriter, lengths: number, which: number, text: string | null) {
  out.intAt(lengths + which * 4, text === null ? ABSENT : text.length);
  if (text !== null) out.wide(text);
  return true;
}

function writeBlock(
  out: FrameWriter,
  lengths: number,
  which: number,
  fields: Fields | null,
  wide: boolean,
): boolean {
  if (wide || fields === null) return wideText(out, lengths, which, fields?.toBlock() ?? null);
  const start = out.position;
  out.fields(fields);
  out.intAt(lengths + which * 4, out.position - start);
  return true;
}

function takeTls(tls: TlsFacts): WireTls {
  const { version, cipher, serverName, alpn, resumed, certificate } = tls;
  // One by one: what the core keeps beside the facts is not sent.
  return [version, cipher, serverName, alpn, resumed, certificate && { ...certificate }];
}

function readTls(wire: WireTls | null): TlsFacts | null {
  if (wire === null) return null;
  const [version, cipher, serverName, alpn, resumed, certificate] = wire;
  return { version, cipher, serverName, alpn, resumed, certificate };
}

function takeVars(live: HostSession): unknown[] | null {
  let list: unknown[] | null = null;
  for (const name of live.varNames()) (list ??= []).push(name, live.vars.get(name));
  return list;
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
function takeFailure(failure: FailureView & { readonly retry?: boolean }): unknown[] {
  return [failure.type, failure.source, failure.message, failure.status, failure.retry ?? null];
}

/**
 * Checks that a value is the session of a call. The core is trusted; this only catches a broken stream.
 *
 * @throws {ProtocolError} If it is not.
 */
export function needSnapshot(value: unknown): Snapshot {
  if (value instanceof Snapshot) return value;
  throw new ProtocolError("a call has no session");
}
