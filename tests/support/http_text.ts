/**
 * Reads HTTP/1 messages from a {@linkcode Wire}, strictly: a test must not overlook what a client would refuse.
 *
 * @module
 */
import { DEADLINE } from "./deadline.ts";
import { latin1, type Wire } from "./wire.ts";

/** Field lines as they stood on the wire. */
export type FieldLines = readonly (readonly [string, string])[];

/** What requests and responses share. */
export interface RawMessage {
  /** The head as it stood on the wire, with its empty line. */
  readonly raw: string;
  readonly fields: FieldLines;
  readonly body: Uint8Array;
  readonly trailers: FieldLines;
  /** How the end of the body was found. */
  readonly framing: "none" | "length" | "chunked" | "close";
}

/** A response. */
export interface RawResponse extends RawMessage {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
}

/** A request. */
export interface RawRequest extends RawMessage {
  readonly method: string;
  readonly target: string;
  readonly version: string;
}

/** The value of a field: `null` if it is not there, several joined by `, `. */
export function field(message: { readonly fields: FieldLines }, name: string): string | null {
  const values = fieldValues(message, name);
  return values.length === 0 ? null : values.join(", ");
}

/** Every value of a field. */
export function fieldValues(message: { readonly fields: FieldLines }, name: string): string[] {
  const lower = name.toLowerCase();
  return message.fields.filter(([one]) => one.toLowerCase() === lower).map(([, value]) => value);
}

/** The body as text. */
export function text(message: RawMessage): string {
  return new TextDecoder().decode(message.body);
}

/** Reads a response, 1xx ones too. `method` is that of the request it answers. */
export async function readResponse(
  wire: Wire,
  method: string = "GET",
  ms: number = DEADLINE,
): Promise<RawResponse> {
  const raw = await wire.takeUntil("\r\n\r\n", ms);
  const { start, fields } = parseHead(raw);
  const line = /^(HTTP\/1\.[01]) ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/.exec(start);
  if (line === null) throw new Error(`Not a status line: ${JSON.stringify(start)}`);
  const head = { raw, fields, version: line[1]!, status: Number(line[2]), reason: line[3]! };
  const { status } = head;
  const opens = method === "CONNECT" && status < 300;
  if (opens || method === "HEAD" || status < 200 || status === 204 || status === 304) {
    return { ...head, body: new Uint8Array(), trailers: [], framing: "none" };
  }
  return { ...head, ...await readBody(wire, fields, "close", ms) };
}

/** Reads responses until one is final; gives all of them, the final one last. */
export async function readFinal(
  wire: Wire,
  method: string = "GET",
  ms: number = DEADLINE,
): Promise<RawResponse[]> {
  const all: RawResponse[] = [];
  for (;;) {
    const response = await readResponse(wire, method, ms);
    all.push(response);
    if (response.status >= 200 || response.status === 101) return all;
  }
}

/** Reads a request head. */
export async function readRequestHead(
  wire: Wire,
  ms: number = DEADLINE,
): Promise<Omit<RawRequest, "body" | "trailers" | "framing">> {
  const raw = await wire.takeUntil("\r\n\r\n", ms);
  const { start, fields } = parseHead(raw);
  const line = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) (HTTP\/1\.[01])$/.exec(start);
  if (line === null) throw new Error(`Not a request line: ${JSON.stringify(start)}`);
  return { raw, fields, method: line[1]!, target: line[2]!, version: line[3]! };
}

/** Reads a request with its body. */
export async function readRequest(wire: Wire, ms: number = DEADLINE): Promise<RawRequest> {
  const head = await readRequestHead(wire, ms);
  return { ...head, ...await readBody(wire, head.fields, "none", ms) };
}

/** Reads a body by its framing; `otherwise` says how long one without framing is. */
export async function readBody(
  wire: Wire,
  fields: FieldLines,
  otherwise: "none" | "close",
  ms: number = DEADLINE,
): Promise<Pick<RawMessage, "body" | "trailers" | "framing">> {
  const lengths = fieldValues({ fields }, "content-length");
  const codings = fieldValues({ fields }, "transfer-encoding");
  if (codings.length > 0) {
    if (lengths.length > 0) throw new Error("Both Content-Length and Transfer-Encoding");
    if (codings.length > 1 || codings[0] !== "chunked") {
      throw new Error(`Transfer-Encoding: ${codings}`);
    }
    return { ...await readChunked(wire, ms), framing: "chunked" };
  }
  if (lengths.length > 0) {
    if (lengths.length > 1 || !/^\d+$/.test(lengths[0]!)) {
      throw new Error(`Content-Length: ${lengths}`);
    }
    return { body: await wire.take(Number(lengths[0]), ms), trailers: [], framing: "length" };
  }
  if (otherwise === "none") return { body: new Uint8Array(), trailers: [], framing: "none" };
  const body = await wire.takeRest(ms);
  if (wire.ended === "reset") throw new Error("The connection was reset inside of the body");
  return { body, trailers: [], framing: "close" };
}

async function readChunked(wire: Wire, ms: number) {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const line = await wire.takeUntil("\r\n", ms);
    if (!/^[0-9A-Fa-f]{1,8}\r\n$/.test(line)) {
      throw new Error(`Not a chunk size: ${JSON.stringify(line)}`);
    }
    const size = parseInt(line, 16);
    if (size === 0) break;
    pieces.push((await wire.take(size, ms)).slice());
    const end = latin1(await wire.take(2, ms));
    if (end !== "\r\n") throw new Error(`Not the end of a chunk: ${JSON.stringify(end)}`);
  }
  const trailers: (readonly [string, string])[] = [];
  for (;;) {
    const line = await wire.takeUntil("\r\n", ms);
    if (line === "\r\n") return { body: concat(pieces), trailers };
    trailers.push(parseField(line.slice(0, -2)));
  }
}

/** Puts pieces together. */
export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

function parseHead(raw: string): { start: string; fields: FieldLines } {
  const lines = raw.slice(0, -4).split("\r\n");
  if (/[\r\n\0]/.test(lines.join(""))) {
    throw new Error(`Bare CR, LF or NUL: ${JSON.stringify(raw)}`);
  }
  return { start: lines[0]!, fields: lines.slice(1).map(parseField) };
}

function parseField(line: string): readonly [string, string] {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/.exec(line);
  if (match === null) throw new Error(`Not a field line: ${JSON.stringify(line)}`);
  return [match[1]!, match[2]!];
}
