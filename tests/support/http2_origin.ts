/**
 * An HTTP/2 origin whose every frame a test decides, over real sockets. It shares no connection code with the program:
 * only HPACK is the program's.
 *
 * @module
 */
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts";
import { FieldBlock } from "../../src/http2/hpack/field_block.ts";
import { PSEUDO_NAMES } from "../../src/http2/hpack/static_table.ts";
import { DEADLINE, withDeadline } from "./deadline.ts";

/** Frame types and flags, as numbers of RFC 9113 §6. */
export const F = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
const PADDED = 8;
const PRIORITY = 32;
const PREFACE_BYTES = 24;

/** A frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** A request as it came: its fields at once, its content and end as they come. */
export class OriginRequest {
  readonly connection: Http2OriginConnection;
  readonly stream: number;
  readonly fields: ReadonlyMap<string, string>;
  /** Resolves with all content when the request has ended. */
  readonly content: Promise<Uint8Array>;
  /** Resolves with the code when the proxy resets the stream. */
  readonly reset: Promise<number>;
  trailers: ReadonlyMap<string, string> | null = null;
  received = 0;
  ended = false;
  readonly #pieces: Uint8Array[] = [];
  #end!: (content: Uint8Array) => void;
  #onReset!: (code: number) => void;

  constructor(
    connection: Http2OriginConnection,
    stream: number,
    fields: ReadonlyMap<string, string>,
  ) {
    this.connection = connection;
    this.stream = stream;
    this.fields = fields;
    this.content = new Promise((resolve) => this.#end = resolve);
    this.reset = new Promise((resolve) => this.#onReset = resolve);
  }

  get method(): string {
    return this.fields.get(":method") ?? "";
  }

  get path(): string {
    return this.fields.get(":path") ?? "";
  }

  /** Answers, wholly unless `end` is false. */
  async respond(
    status: number,
    body: string | Uint8Array = "",
    fields: readonly (readonly [string, string])[] = [],
    end = true,
  ): Promise<void> {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const only = end && bytes.length === 0;
    await this.headers([[":status", String(status)], ...fields], only);
    if (bytes.length > 0) await this.data(bytes, end);
  }

  headers(fields: readonly (readonly [string, string])[], end = false): Promise<void> {
    return this.connection.headers(this.stream, fields, end);
  }

  async data(bytes: Uint8Array, end = false): Promise<void> {
    for (let at = 0; at < bytes.length || at === 0; at += 16_384) {
      const piece = bytes.subarray(at, at + 16_384);
      const last = end && at + piece.length >= bytes.length;
      await this.connection.frame(F.DATA, last ? END_STREAM : 0, this.stream, piece);
      if (bytes.length === 0) return;
    }
  }

  rst(code: number): Promise<void> {
    return this.connection.frame(F.RST_STREAM, 0, this.stream, uint32(code));
  }

  /** @internal */
  take(bytes: Uint8Array): void {
    this.received += bytes.length;
    this.#pieces.push(bytes);
  }

  /** @internal */
  finish(): void {
    if (this.ended) return;
    this.ended = true;
    const all = new Uint8Array(this.received);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    this.#end(all);
  }

  /** @internal */
  wasReset(code: number): void {
    this.#onReset(code);
  }
}

/** How an origin behaves. */
export interface Http2OriginOptions {
  /** Called for each request, when its head is there. */
  readonly onRequest?: (request: OriginRequest) => unknown;
  /** Called for each connection, before anything is sent. With `false`, the test speaks for itself. */
  readonly onConnection?: (connection: Http2OriginConnection) => boolean | void;
  /** Identifier, value, identifier, value… of our SETTINGS. */
  readonly settings?: readonly number[];
  /** Whether PING is answered. Default `true`. */
  readonly pong?: boolean;
  /** Whether windows are opened again as content comes. Default `true`. */
  readonly windows?: boolean;
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Protocols to choose from by ALPN. Default `h2`. */
  readonly alpn?: readonly string[];
}

/** One connection of the origin. */
export class Http2OriginConnection {
  readonly requests: OriginRequest[] = [];
  /** All frames that came, in order. */
  readonly frames: Frame[] = [];
  /** Resolves when the proxy has closed the connection. */
  readonly closed: Promise<void>;
  isClosed = false;
  readonly index: number;
  readonly #conn: Deno.Conn;
  readonly #options: Http2OriginOptions;
  readonly #decoder = new HpackDecoder();
  readonly #encoder = new HpackEncoder();
  readonly #open = new Map<number, OriginRequest>();
  #block: Uint8Array | null = null;
  #blockFlags = 0;
  /** Whether the test sends SETTINGS, and says that it has seen ours. */
  #manual = false;
  #waiters: (() => void)[] = [];
  #writing: Promise<unknown> = Promise.resolve();

  constructor(conn: Deno.Conn, index: number, options: Http2OriginOptions) {
    this.#conn = conn;
    this.index = index;
    this.#options = options;
    this.closed = this.#run().then(() => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** Writes bytes as they are. */
  write(bytes: Uint8Array): Promise<void> {
    const work = this.#writing.then(async () => {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    });
    this.#writing = work.catch(() => {});
    return work.catch(() => {});
  }

  frame(type: number, flags: number, stream: number, payload: Uint8Array): Promise<void> {
    return this.write(makeFrame(type, flags, stream, payload));
  }

  headers(
    stream: number,
    fields: readonly (readonly [string, string])[],
    end = false,
  ): Promise<void> {
    const flags = END_HEADERS | (end ? END_STREAM : 0);
    return this.frame(F.HEADERS, flags, stream, this.block(fields));
  }

  /** Encodes a field block, which must then be sent. */
  block(fields: readonly (readonly [string, string])[]): Uint8Array {
    const size = fields.reduce((sum, [name, value]) => sum + name.length + value.length + 20, 64);
    const out = new Uint8Array(size);
    let at = this.#encoder.begin(out, 0);
    for (const [name, value] of fields) at = this.#encoder.field(out, at, name, value);
    return out.subarray(0, at);
  }

  settings(...values: number[]): Promise<void> {
    const payload = new Uint8Array(values.length * 3);
    for (let i = 0; i < values.length; i += 2) {
      payload[i * 3] = values[i]! >>> 8;
      payload[i * 3 + 1] = values[i]!;
      payload.set(uint32(values[i + 1]!), i * 3 + 2);
    }
    return this.frame(F.SETTINGS, 0, 0, payload);
  }

  goaway(lastStream: number, code = 0): Promise<void> {
    return this.frame(F.GOAWAY, 0, 0, Uint8Array.of(...uint32(lastStream), ...uint32(code)));
  }

  windowUpdate(stream: number, increment: number): Promise<void> {
    return this.frame(F.WINDOW_UPDATE, 0, stream, uint32(increment));
  }

  /** Closes at once. */
  close(): void {
    try {
      this.#conn.close();
    } catch {
      // It was closed by the other side.
    }
  }

  /** Waits until something holds that frames bring about. */
  async until(what: string, holds: () => boolean, ms = DEADLINE): Promise<void> {
    await withDeadline(
      (async () => {
        while (!holds()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
      })(),
      ms,
      what,
    );
  }

  /** Waits for a frame of a type, the `count`th, and gives it. */
  async next(type: number, count = 1, flags = 0): Promise<Frame> {
    const all = () =>
      this.frames.filter((one) => one.type === type && (one.flags & flags) === flags);
    await this.until(`frame ${count} of type ${type}`, () => all().length >= count);
    return all()[count - 1]!;
  }

  async #run(): Promise<void> {
    try {
      this.#manual = this.#options.onConnection?.(this) === false;
      if (!this.#manual) await this.settings(...this.#options.settings ?? []);
      await this.#read();
    } catch {
      // The other side is gone.
    }
    this.close();
  }

  async #read(): Promise<void> {
    let held = new Uint8Array(0);
    let skip = PREFACE_BYTES;
    const into = new Uint8Array(64 * 1024);
    for (;;) {
      const length = await this.#conn.read(into);
      if (length === null) return;
      const bytes = new Uint8Array(held.length + length);
      bytes.set(held);
      bytes.set(into.subarray(0, length), held.length);
      let at = Math.min(skip, bytes.length);
      skip -= at;
      while (skip === 0 && bytes.length - at >= 9) {
        const size = bytes[at]! << 16 | bytes[at + 1]! << 8 | bytes[at + 2]!;
        if (bytes.length - at - 9 < size) break;
        this.#take({
          type: bytes[at + 3]!,
          flags: bytes[at + 4]!,
          stream: new DataView(bytes.buffer).getUint32(at + 5) & 0x7fff_ffff,
          payload: bytes.slice(at + 9, at + 9 + size),
        });
        at += 9 + size;
      }
      held = bytes.slice(at);
    }
  }

  #take(frame: Frame): void {
    this.frames.push(frame);
    const { type, flags, stream, payload } = frame;
    const { pong = true, windows = true } = this.#options;
    if (type === F.SETTINGS && (flags & ACK) === 0 && !this.#manual) {
      void this.frame(F.SETTINGS, ACK, 0, new Uint8Array(0));
    } else if (type === F.PING && (flags & ACK) === 0 && pong) {
      void this.frame(F.PING, ACK, 0, payload);
    } else if (type === F.HEADERS) {
      const start = (flags & PADDED ? 1 : 0) + (flags & PRIORITY ? 5 : 0);
      this.#block = payload.subarray(start);
      this.#blockFlags = flags;
      if ((flags & END_HEADERS) !== 0) this.#onBlock(stream);
    } else if (type === F.CONTINUATION) {
      this.#block = Uint8Array.of(...this.#block!, ...payload);
      if ((flags & END_HEADERS) !== 0) this.#onBlock(stream);
    } else if (type === F.DATA) {
      const request = this.#open.get(stream);
      request?.take(payload);
      if (windows && payload.length > 0) {
        void this.windowUpdate(0, payload.length);
        if ((flags & END_STREAM) === 0) void this.windowUpdate(stream, payload.length);
      }
      if ((flags & END_STREAM) !== 0) request?.finish();
    } else if (type === F.RST_STREAM) {
      this.#open.get(stream)?.wasReset(new DataView(payload.buffer).getUint32(0));
    }
    this.#wake();
  }

  #onBlock(stream: number): void {
    const block = new FieldBlock();
    this.#decoder.decode(this.#block!, 0, this.#block!.length, block);
    const fields = new Map<string, string>();
    for (let i = 1; i < PSEUDO_NAMES.length; i++) {
      const value = block.pseudo(i);
      if (value !== null) fields.set(PSEUDO_NAMES[i]!, value);
    }
    for (const [name, value] of block.takeFields()) {
      fields.set(name, fields.has(name) ? `${fields.get(name)}, ${value}` : value);
    }
    const end = (this.#blockFlags & END_STREAM) !== 0;
    const open = this.#open.get(stream);
    if (open !== undefined) {
      open.trailers = fields;
      open.finish();
      return;
    }
    const request = new OriginRequest(this, stream, fields);
    this.#open.set(stream, request);
    this.requests.push(request);
    if (end) request.finish();
    void this.#options.onRequest?.(request);
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}

/** A running origin. */
export class Http2Origin implements AsyncDisposable {
  readonly port: number;
  readonly connections: Http2OriginConnection[] = [];
  readonly #listener: Deno.Listener;
  readonly #options: Http2OriginOptions;
  readonly #accepting: Promise<void>;
  #waiters: (() => void)[] = [];

  constructor(options: Http2OriginOptions = {}) {
    this.#options = options;
    const { tls, alpn = ["h2"] } = options;
    this.#listener = tls === undefined
      ? Deno.listen({ hostname: "127.0.0.1", port: 0 })
      : Deno.listenTls({
        hostname: "127.0.0.1",
        port: 0,
        cert: tls.cert,
        key: tls.key,
        alpnProtocols: [...alpn],
      });
    this.port = (this.#listener.addr as Deno.NetAddr).port;
    this.#accepting = this.#accept();
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** All requests, of all connections, in the order of the connections. */
  get requests(): OriginRequest[] {
    return this.connections.flatMap((connection) => connection.requests);
  }

  /** Waits for a connection, the `count`th, and gives it. */
  async connection(count = 1): Promise<Http2OriginConnection> {
    await withDeadline(
      (async () => {
        while (this.connections.length < count) {
          await new Promise<void>((resolve) => this.#waiters.push(resolve));
        }
      })(),
      DEADLINE,
      `connection ${count}`,
    );
    return this.connections[count - 1]!;
  }

  /** Waits for a request, the `count`th of a connection. */
  async request(count = 1, connection = 1): Promise<OriginRequest> {
    const one = await this.connection(connection);
    await one.until(`request ${count}`, () => one.requests.length >= count);
    return one.requests[count - 1]!;
  }

  async #accept(): Promise<void> {
    for (;;) {
      let conn: Deno.Conn;
      try {
        conn = await this.#listener.accept();
        if ("handshake" in conn) await (conn as Deno.TlsConn).handshake();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return;
        if (error instanceof Deno.errors.Interrupted) return;
        continue;
      }
      if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay(true);
      const { length } = this.connections;
      this.connections.push(new Http2OriginConnection(conn, length, this.#options));
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const waiter of waiters) waiter();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.connections) connection.close();
    await this.#accepting;
    await Promise.all(this.connections.map((connection) => connection.closed));
  }
}

/** A frame as bytes. */
export function makeFrame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(9 + payload.length);
  bytes[0] = payload.length >>> 16;
  bytes[1] = payload.length >>> 8;
  bytes[2] = payload.length;
  bytes[3] = type;
  bytes[4] = flags;
  bytes.set(uint32(stream), 5);
  bytes.set(payload, 9);
  return bytes;
}

/** Four bytes. */
export function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}
