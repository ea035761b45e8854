/**
 * An HTTP/2 client that sends exactly the frames it is given, and keeps all that come.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as c from "../../src/http2/constants.ts";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { FieldBlock } from "../../src/http2/hpack/field_block.ts";
import { PSEUDO_NAMES } from "../../src/http2/hpack/static_table.ts";
import { DEADLINE } from "./deadline.ts";
import type { Wire } from "./wire.ts";
import { RawClient } from "./raw_client.ts";
import { bytes } from "./wire.ts";

/** A frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** What has come on a stream. */
export interface StreamSeen {
  /** Field sections in order: 1xx, head, trailers. */
  readonly sections: [string, string][][];
  body: Buffer;
  ended: boolean;
  /** Code of RST_STREAM, or `-1`. */
  reset: number;
}

export type FieldList = readonly (readonly [string, string])[];

/** Bytes of a frame. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array | string = "",
): Buffer {
  const body = typeof payload === "string" ? bytes(payload) : payload;
  const out = Buffer.alloc(9 + body.length);
  out.writeUIntBE(body.length, 0, 3);
  out[3] = type;
  out[4] = flags;
  out.writeUInt32BE(stream, 5);
  out.set(body, 9);
  return out;
}

/** Numbers of four bytes each. */
export function words(...values: number[]): Buffer {
  const out = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => out.writeUInt32BE(value >>> 0, i * 4));
  return out;
}

/** The payload of SETTINGS. */
export function settings(...pairs: readonly [number, number][]): Buffer {
  const out = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([id, value], i) => {
    out.writeUInt16BE(id, i * 6);
    out.writeUInt32BE(value >>> 0, i * 6 + 2);
  });
  return out;
}

/** How a client begins and behaves. */
export interface RawHttp2Options {
  /** What its SETTINGS say. */
  readonly settings?: readonly [number, number][];
  /** Whether it acknowledges SETTINGS. Default `true`. */
  readonly acknowledges?: boolean;
  /** Whether it opens windows for what came. Default `true`. */
  readonly opensWindows?: boolean;
}

/** A connection that speaks HTTP/2. */
export class RawHttp2 implements AsyncDisposable {
  readonly wire: Wire;
  /** All frames that have come. */
  readonly frames: Frame[] = [];
  readonly streams = new Map<number, StreamSeen>();
  readonly #options: RawHttp2Options;
  readonly #encoder = new HpackEncoder();
  readonly #decoder = new HpackDecoder();
  readonly #block = new FieldBlock();
  #fragments: Uint8Array[] = [];
  #blockEnds = false;
  #next = 1;

  constructor(wire: Wire, options: RawHttp2Options) {
    this.wire = wire;
    wire.recording = false;
    this.#options = options;
  }

  /** Connects and sends preface and SETTINGS. */
  static async connect(port: number, options: RawHttp2Options = {}): Promise<RawHttp2> {
    const client = new RawHttp2(await RawClient.connect(port), options);
    await client.send(c.PREFACE, frame(c.SETTINGS, 0, 0, settings(...options.settings ?? [])));
    return client;
  }

  /** The number of the next request. */
  take(): number {
    const id = this.#next;
    this.#next += 2;
    return id;
  }

  /** Sends bytes in one write. */
  async send(...parts: readonly Uint8Array[]): Promise<void> {
    await this.wire.send(Buffer.concat(parts));
  }

  /** A field block. */
  block(fields: FieldList): Buffer {
    const size = fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 32);
    const out = Buffer.alloc(size);
    let end = this.#encoder.begin(out, 0);
    for (const [name, value] of fields) end = this.#encoder.field(out, end, name, value);
    return out.subarray(0, end);
  }

  /** HEADERS with a whole field block, and CONTINUATION if it is long. */
  headers(stream: number, fields: FieldList, end: boolean): Buffer {
    const block = this.block(fields);
    const frames: Buffer[] = [];
    for (let at = 0; at === 0 || at < block.length; at += c.MIN_MAX_FRAME) {
      const last = at + c.MIN_MAX_FRAME >= block.length ? c.FLAG_END_HEADERS : 0;
      const piece = block.subarray(at, at + c.MIN_MAX_FRAME);
      frames.push(
        at === 0
          ? frame(c.HEADERS, last | (end ? c.FLAG_END_STREAM : 0), stream, piece)
          : frame(c.CONTINUATION, last, stream, piece),
      );
    }
    return Buffer.concat(frames);
  }

  /** HEADERS of a request. */
  request(
    stream: number,
    method: string,
    path: string,
    options: { fields?: FieldList; end?: boolean } = {},
  ): Buffer {
    return this.headers(stream, [
      [":method", method],
      [":scheme", "http"],
      [":authority", "test.example"],
      [":path", path],
      ...(options.fields ?? []),
    ], options.end ?? true);
  }

  /** Sends a GET and waits for the response. */
  async get(path: string, fields: FieldList = []): Promise<StreamSeen> {
    const id = this.take();
    await this.send(this.request(id, "GET", path, { fields }));
    return await this.over(id);
  }

  /** Sends a request with content and waits for the response. */
  async post(path: string, body: Uint8Array | string, fields: FieldList = []): Promise<StreamSeen> {
    const id = this.take();
    await this.send(
      this.request(id, "POST", path, { fields, end: false }),
      frame(c.DATA, c.FLAG_END_STREAM, id, body),
    );
    return await this.over(id);
  }

  /** What has come on a stream. */
  seen(stream: number): StreamSeen {
    let seen = this.streams.get(stream);
    if (seen === undefined) {
      seen = { sections: [], body: Buffer.alloc(0), ended: false, reset: -1 };
      this.streams.set(stream, seen);
    }
    return seen;
  }

  /** Waits until a stream has ended or was reset. */
  async over(stream: number, ms?: number): Promise<StreamSeen> {
    const seen = this.seen(stream);
    await this.until(() => seen.ended || seen.reset >= 0, `the end of stream ${stream}`, ms);
    return seen;
  }

  /** Waits for the first frame that fits, also of those that have come. */
  async frame(fits: (frame: Frame) => boolean, what: string, ms?: number): Promise<Frame> {
    let found: Frame | undefined;
    await this.until(() => (found = this.frames.find(fits)) !== undefined, what, ms);
    return found!;
  }

  /** Waits for GOAWAY and gives its error code, or `-1` if the connection ends without one. */
  async goaway(ms?: number): Promise<number> {
    try {
      const { payload } = await this.frame(({ type }) => type === c.GOAWAY, "GOAWAY", ms);
      return Buffer.from(payload).readUInt32BE(4);
    } catch (error) {
      if (this.wire.ended !== null) return -1;
      throw error;
    }
  }

  /** Waits for the end of the connection. */
  async end(ms: number = DEADLINE): Promise<void> {
    const end = Date.now() + ms;
    while (await this.read(end - Date.now()));
  }

  /** Sends PING and waits for its answer: by then all that was sent before has been looked at. */
  async ping(): Promise<void> {
    const mark = words(Math.random() * 2 ** 32, Math.random() * 2 ** 32);
    await this.send(frame(c.PING, 0, 0, mark));
    await this.frame(
      ({ type, flags, payload }) =>
        type === c.PING && flags === c.FLAG_ACK && mark.equals(Buffer.from(payload)),
      "the answer to PING",
    );
  }

  /** Reads frames until something holds. Throws if the connection ends before. */
  async until(holds: () => boolean, what: string, ms: number = DEADLINE): Promise<void> {
    const end = Date.now() + ms;
    while (!holds()) {
      if (!await this.read(end - Date.now())) {
        if (holds()) return;
        const last = this.frames.filter(({ type }) => type === c.GOAWAY).at(-1);
        const code = last === undefined ? "" : `, GOAWAY ${last.payload.at(-1)}`;
        throw new Error(`The connection ended (${this.wire.ended}${code}) before ${what}`);
      }
    }
  }

  /** Reads one frame; `false` at the end of the connection. */
  async read(ms: number): Promise<boolean> {
    while (this.wire.buffered.length < 9) if (!await this.wire.fill(ms, "a frame")) return false;
    const length = Buffer.from(this.wire.buffered).readUIntBE(0, 3);
    while (this.wire.buffered.length < 9 + length) {
      if (!await this.wire.fill(ms, "a frame")) return false;
    }
    const all = Buffer.from(await this.wire.take(9 + length));
    const one = {
      type: all[3]!,
      flags: all[4]!,
      stream: all.readUInt32BE(5),
      payload: all.subarray(9),
    };
    this.frames.push(one);
    await this.#look(one);
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.wire[Symbol.asyncDispose]();
  }

  async #look({ type, flags, stream, payload }: Frame): Promise<void> {
    switch (type) {
      case c.SETTINGS:
        if (flags === 0 && this.#options.acknowledges !== false) {
          await this.send(frame(c.SETTINGS, c.FLAG_ACK, 0));
        }
        return;
      case c.PING:
        if (flags === 0) await this.send(frame(c.PING, c.FLAG_ACK, 0, payload));
        return;
      case c.HEADERS:
      case c.CONTINUATION: {
        this.#fragments.push(payload);
        if (type === c.HEADERS) this.#blockEnds = (flags & c.FLAG_END_STREAM) !== 0;
        if ((flags & c.FLAG_END_HEADERS) === 0) return;
        const all = Buffer.concat(this.#fragments);
        this.#fragments = [];
        this.#decoder.decode(all, 0, all.length, this.#block);
        const pairs: [string, string][] = [];
        for (let i = 1; i < PSEUDO_NAMES.length; i++) {
          const value = this.#block.pseudo(i);
          if (value !== null) pairs.push([PSEUDO_NAMES[i]!, value]);
        }
        const seen = this.seen(stream);
        seen.sections.push([...pairs, ...this.#block.takeFields()]);
        seen.ended = this.#blockEnds;
        return;
      }
      case c.DATA: {
        const seen = this.seen(stream);
        seen.body = Buffer.concat([seen.body, payload]);
        if ((flags & c.FLAG_END_STREAM) !== 0) seen.ended = true;
        if (payload.length > 0 && this.#options.opensWindows !== false) {
          const more = words(payload.length);
          await this.send(
            frame(c.WINDOW_UPDATE, 0, 0, more),
            ...(seen.ended ? [] : [frame(c.WINDOW_UPDATE, 0, stream, more)]),
          );
        }
        return;
      }
      case c.RST_STREAM:
        this.seen(stream).reset = Buffer.from(payload).readUInt32BE(0);
    }
  }
}

/** The status of the final response, or an empty string. */
export function statusOf({ sections }: StreamSeen): string {
  const heads = sections.map((section) => valueOf(section, ":status"));
  return heads.filter((status) => status !== "").at(-1) ?? "";
}

/** The value of a field, or an empty string. */
export function valueOf(section: FieldList | undefined, name: string): string {
  return section?.find(([one]) => one === name)?.[1] ?? "";
}
