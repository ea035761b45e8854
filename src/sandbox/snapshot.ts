/**
 * What a hook in a sandbox gets to see, written straight from the live session.
 *
 * The texts stand behind each other, a byte per character, and the field sections among them are copied as
 * they are. In the sandbox they stay bytes, and become a string or fields when somebody asks for them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type Fields, latin1 } from "../http/fields.ts";
import type { HostSession, Kept } from "../plugin/handler.ts";
import type { ConnectionView, FailureView } from "../plugin/session.ts";
import type { ClientCertificate, TlsFacts } from "../transport/socket.ts";
import {
  SNAPSHOT,
  type SnapshotDecoder,
  type ValueReader,
  writeListHead,
  writeValue,
} from "./codec.ts";
import { FieldLines, LINE } from "./field_lines.ts";
import { FIRST_SIZE } from "./frame_reader.ts";
import type { FrameWriter } from "./frame_writer.ts";
import { type KeptRequests, MAX_KEPT } from "./kept_requests.ts";
import {
  CALL,
  NO_SECTION,
  type PhaseShape,
  ProtocolError,
  SECTIONS,
  TRAILERS,
  UPSTREAM_REQUEST,
} from "./protocol.ts";

// The texts of a request, in order.
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
const REQUEST_TEXTS = 10;

// The texts of a call, in order.
export const UPSTREAM_NAME = 0;
export const UPSTREAM_ADDRESS = 1;
/** Method and target of the request to the upstream. */
export const SECTION_METHOD = 2;
export const SECTION_TARGET = 3;
const CALL_TEXTS = 4;

/** The length of a text that is `null`. */
const ABSENT = -1;
/** The number of a request that is not kept. */
const NOT_KEPT = -1;

// Flags of a call.
const HAS_UPSTREAM = 1;
const IS_REUSED = 2;
const HAS_REQUEST = 4;

/** `TlsFacts` as they are sent. */
type WireTls = [string, string, string, string, boolean, ClientCertificate | null];

/** Bytes before the lengths of texts: width, bytes of texts, number of lines, their bytes. */
const TEXTS_HEAD = 1 + 4 + 4 + 4;

/** Texts and the lines of a field section, as they were sent; nothing is read of them before it is asked for. */
class Texts {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  /** Where the lengths of the texts begin, in characters; the texts stand behind them. */
  readonly #at: number;
  readonly #count: number;
  readonly #wide: boolean;
  readonly #linesAt: number;
  readonly #lines: number;

  /** @param count How many texts there are. */
  constructor(reader: ValueReader, count: number) {
    this.#count = count;
    this.#wide = reader.byte() === 1;
    const before = count * 4 + reader.int();
    this.#lines = reader.int();
    const length = before + this.#lines * LINE + reader.int();
    if (reader.source.length === FIRST_SIZE) {
      this.#bytes = reader.source;
      this.#at = reader.skip(length);
    } else {
      this.#bytes = reader.bytes(length);
      this.#at = 0;
    }
    this.#linesAt = this.#at + before;
  }

  /** One of the texts. */
  text(which: number): string | null {
    let from = 0;
    for (let i = 0; i < which; i++) from += Math.max(0, this.#length(i));
    const length = this.#length(which);
    if (length === ABSENT) return null;
    const texts = this.#at + this.#count * 4;
    if (!this.#wide) return latin1(this.#bytes, texts + from, texts + from + length);
    return Buffer.from(this.#bytes.buffer, texts + from * 2, length * 2).toString("utf16le");
  }

  /** @param base Where lines that stand elsewhere are. */
  lines(base: FieldLines | null): FieldLines {
    const at = this.#linesAt;
    return new FieldLines(this.#bytes, at + this.#lines * LINE, at, this.#lines, base);
  }

  #length(which: number): number {
    const b = this.#bytes;
    const i = this.#at + which * 4;
    return b[i]! | (b[i + 1]! << 8) | (b[i + 2]! << 16) | (b[i + 3]! << 24);
  }
}

/** What does not change as long as a request lasts. */
export class RequestSnapshot {
  readonly #texts: Texts;
  readonly port: number;
  readonly tls: TlsFacts | null;

  constructor(reader: ValueReader) {
    this.port = reader.int();
    this.#texts = new Texts(reader, REQUEST_TEXTS);
    this.tls = readTls(reader.value(0) as WireTls | null);
  }

  text(which: number): string {
    return this.#texts.text(which) ?? "";
  }

  get route(): string | null {
    return this.#texts.text(ROUTE);
  }

  /** The fields as they were received. */
  get lines(): FieldLines {
    return this.#texts.lines(null);
  }
}

/** The session of a call, in the sandbox. */
export class Snapshot {
  readonly request: RequestSnapshot;
  readonly #texts: Texts;
  readonly #flags: number;
  readonly attempt: number;
  /** Of the response that the phase is about. */
  readonly status: number;
  /** Milliseconds. */
  readonly elapsed: number;
  /** Name, value, name, value …, or `null`. */
  readonly vars: readonly unknown[] | null;
  /** `[status, received, sent, attempts, duration, failure | null]`, once the request is over. */
  readonly outcome: readonly unknown[] | null;

  /** @param kept The requests that are kept, by their number. */
  constructor(reader: ValueReader, kept: (RequestSnapshot | undefined)[]) {
    this.#flags = reader.byte();
    const number = reader.int();
    if ((this.#flags & HAS_REQUEST) !== 0) {
      this.request = new RequestSnapshot(reader);
      if (number >= 0 && number < MAX_KEPT) kept[number] = this.request;
    } else {
      const known = kept[number];
      if (known === undefined) throw new ProtocolError("a call is for a request that was not sent");
      this.request = known;
    }
    this.attempt = reader.int();
    this.status = reader.int();
    this.elapsed = reader.double();
    this.#texts = new Texts(reader, CALL_TEXTS);
    this.vars = reader.value(0) as unknown[] | null;
    this.outcome = reader.value(0) as unknown[] | null;
  }

  /** One of the texts of the call. */
  text(which: number): string {
    return this.#texts.text(which) ?? "";
  }

  /** One of the texts of the call that may be missing. */
  textOrNull(which: number): string | null {
    return this.#texts.text(which);
  }

  /** The fields of the section that the phase is about. */
  get lines(): FieldLines {
    return this.#texts.lines(this.request.lines);
  }

  get hasUpstream(): boolean {
    return (this.#flags & HAS_UPSTREAM) !== 0;
  }

  get reused(): boolean {
    return (this.#flags & IS_REUSED) !== 0;
  }
}

/** Reads each {@linkcode Snapshot} that comes over one channel; for `FrameReader`. */
export function snapshotReader(): SnapshotDecoder {
  const kept: (RequestSnapshot | undefined)[] = [];
  return (reader) => new Snapshot(reader, kept);
}

/**
 * Writes a call as one frame.
 *
 * @param kept The requests that the other side keeps; `null`: it is to keep none.
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
  kept: KeptRequests | null = null,
): void {
  out.begin();
  let taken: Kept | null = null;
  try {
    writeListHead(out, 7);
    writeValue(out, CALL);
    writeValue(out, id);
    writeValue(out, use);
    writeValue(out, shape.number);
    if (shape.session === "none" || session === null) writeValue(out, null);
    else if (shape.session === "request") {
      taken = writeSession(out, shape, session as HostSession, kept);
    } else {
      const { address, port, listener } = session as ConnectionView;
      writeValue(out, [address, port, listener]);
    }
    const failed = shape.extra === "failure" && first !== null && first !== undefined;
    writeValue(out, failed ? takeFailure(first as FailureView) : first);
    writeValue(out, second);
  } catch (error) {
    taken?.release();
    out.abandon();
    throw error;
  }
  out.end();
  if (taken !== null) (session as HostSession).keep(taken);
}

/** @returns What keeps the request from now on, if it was written and is to be kept. */
function writeSession(
  out: FrameWriter,
  shape: PhaseShape,
  live: HostSession,
  kept: KeptRequests | null,
): Kept | null {
  out.byte(SNAPSHOT);
  const { upstream } = live;
  const known = kept === null ? NOT_KEPT : kept.find(live);
  let flags = known === NOT_KEPT ? HAS_REQUEST : 0;
  if (upstream !== null) flags |= HAS_UPSTREAM | (upstream.reused ? IS_REUSED : 0);
  out.byte(flags);
  const numberAt = out.position;
  out.int(known);
  const received = live.fields("request")!;
  let taken: Kept & { readonly number: number } | null = null;
  if (known === NOT_KEPT) {
    writeRequest(out, live, received);
    // Hardly anybody is told of a request again when it is over.
    if (kept !== null && !shape.over) taken = kept.take(out.position - numberAt);
    if (taken !== null) out.intAt(numberAt, taken.number);
  }
  try {
    writeState(out, shape, live, received);
  } catch (error) {
    taken?.release();
    throw error;
  }
  return taken;
}

function writeRequest(out: FrameWriter, live: HostSession, fields: Fields): void {
  const { client } = live;
  out.int(client.port);
  const texts = beginTexts(out, REQUEST_TEXTS);
  if (!writeRequestTexts(out, texts, live, narrowText)) {
    rewindTexts(out, texts, REQUEST_TEXTS);
    writeRequestTexts(out, texts, live, wideText);
  }
  endTexts(out, texts, REQUEST_TEXTS, fields, null);
  const { tls } = client;
  writeValue(out, tls === null ? null : takeTls(tls));
}

/** What has changed since the last call, or is about the phase. */
function writeState(
  out: FrameWriter,
  shape: PhaseShape,
  live: HostSession,
  received: Fields,
): void {
  const { section } = shape;
  out.int(live.attempt);
  out.int(statusOf(section, live));
  out.double(live.elapsed);
  const texts = beginTexts(out, CALL_TEXTS);
  if (!writeCallTexts(out, texts, section, live, narrowText)) {
    rewindTexts(out, texts, CALL_TEXTS);
    writeCallTexts(out, texts, section, live, wideText);
  }
  const fields = section === NO_SECTION ? null : live.fields(SECTIONS[section]!);
  endTexts(out, texts, CALL_TEXTS, fields, received);
  writeValue(out, takeVars(live));
  writeValue(out, shape.over ? takeOutcome(live) : null);
}

/** Says whether all texts could be written. */
type TextWriter = (
  out: FrameWriter,
  lengths: number,
  which: number,
  text: string | null,
) => boolean;

function writeRequestTexts(
  out: FrameWriter,
  lengths: number,
  { id, request, client, listener, route }: HostSession,
  write: TextWriter,
): boolean {
  return write(out, lengths, ID, id) &&
    write(out, lengths, REQUEST_METHOD, request.method) &&
    write(out, lengths, REQUEST_TARGET, request.target) &&
    write(out, lengths, SCHEME, request.scheme) &&
    write(out, lengths, AUTHORITY, request.authority) &&
    write(out, lengths, VERSION, request.httpVersion) &&
    write(out, lengths, CLIENT_ADDRESS, client.address) &&
    write(out, lengths, CLIENT_PEER, client.peer) &&
    write(out, lengths, LISTENER, listener) &&
    write(out, lengths, ROUTE, route);
}

function writeCallTexts(
  out: FrameWriter,
  lengths: number,
  section: number,
  live: HostSession,
  write: TextWriter,
): boolean {
  const { upstream } = live;
  const sent = section === UPSTREAM_REQUEST ? live.upstreamRequest : null;
  return write(out, lengths, UPSTREAM_NAME, upstream === null ? null : upstream.name) &&
    write(out, lengths, UPSTREAM_ADDRESS, upstream === null ? null : upstream.address) &&
    write(out, lengths, SECTION_METHOD, sent === null ? null : sent.method) &&
    write(out, lengths, SECTION_TARGET, sent === null ? null : sent.target);
}

/** Makes room for what stands before texts; says where their lengths go. */
function beginTexts(out: FrameWriter, count: number): number {
  out.reserve(TEXTS_HEAD + count * 4);
  out.byte(0);
  out.position += TEXTS_HEAD - 1 + count * 4;
  return out.position - count * 4;
}

/** Begins again, for texts of two bytes per character. */
function rewindTexts(out: FrameWriter, lengths: number, count: number): void {
  out.position = lengths - TEXTS_HEAD;
  out.byte(1);
  out.position = lengths + count * 4;
}

/**
 * Writes a field section behind texts, and before them how long all is.
 *
 * @param base The section that its lines may stand in.
 */
function endTexts(
  out: FrameWriter,
  lengths: number,
  count: number,
  fields: Fields | null,
  base: Fields | null,
): void {
  out.intAt(lengths - 12, out.position - lengths - count * 4);
  out.intAt(lengths - 8, fields === null ? 0 : fields.size);
  out.intAt(lengths - 4, fields === null ? 0 : out.lines(fields, base));
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

function statusOf(section: number, live: HostSession): number {
  if (section === NO_SECTION || section === UPSTREAM_REQUEST || section === TRAILERS) return 0;
  return SECTIONS[section] === "response" ? live.response.status : live.upstreamResponse.status;
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
