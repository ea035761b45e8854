/**
 * One client in every version of HTTP, made of Node's clients: asks, sends content and trailers, breaks off, and tells
 * what came back.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import { withDeadline } from "./deadline.ts";
import type { Wire } from "./bridge_origin.ts";

/** What to ask. */
export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Content, in the pieces it is to be sent in. */
  readonly content?: Iterable<Uint8Array>;
  readonly trailers?: Readonly<Record<string, string>>;
  /** Breaks off when so many bytes of content have come. */
  readonly breakAfter?: number;
}

/** What came back. */
export interface Answer {
  /** `0` if there was no head. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly trailers: Readonly<Record<string, string>>;
  /** Whether it came to its end, as it should. */
  readonly whole: boolean;
}

/** A client of one listener. HTTP/2 requests share one connection, HTTP/1.1 requests have one each. */
export class BridgeClient implements AsyncDisposable {
  readonly wire: Wire;
  readonly #port: number;
  readonly #session: http2.ClientHttp2Session | null;

  /** @param ca The root of the listener's certificate, for `h2`. */
  constructor(wire: Wire, port: number, ca: string | null = null) {
    this.wire = wire;
    this.#port = port;
    this.#session = wire === "h1"
      ? null
      : http2.connect(`${wire === "h2" ? "https" : "http"}://127.0.0.1:${port}`, ca ? { ca } : {});
    this.#session?.on("error", () => {});
  }

  /** Asks, and waits for the end. */
  ask(ask: Ask, ms: number = 60_000): Promise<Answer> {
    const answer = this.#session === null ? this.#askHttp1(ask) : this.#askHttp2(ask);
    return withDeadline(answer, ms, `the answer to ${ask.path}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#session?.destroy();
    return Promise.resolve();
  }

  #askHttp1(ask: Ask): Promise<Answer> {
    return new Promise((resolve) => {
      const got = new Got();
      const request = http.request({
        host: "127.0.0.1",
        port: this.#port,
        agent: false,
        method: ask.method ?? "GET",
        path: ask.path,
        headers: {
          te: "trailers",
          connection: "TE, close",
          ...(ask.trailers === undefined
            ? {}
            : { trailer: Object.keys(ask.trailers).join(", "), "transfer-encoding": "chunked" }),
          ...ask.headers,
        },
      }, (response) => {
        got.status = response.statusCode!;
        got.headers = plain(response.headers);
        response.on("data", (piece: Buffer) => {
          // A mere end would leave the origin's answer wanted.
          if (got.add(piece, ask)) (response.socket as net.Socket).resetAndDestroy();
        });
        response.on("end", () => resolve(got.end(response.trailers, response.complete)));
        response.on("aborted", () => resolve(got.end({}, false)));
        response.on("error", () => resolve(got.end({}, false)));
        response.on("close", () => resolve(got.end({}, false)));
      });
      request.on("error", () => resolve(got.end({}, false)));
      void upload(request, ask).then(() => {
        if (ask.trailers !== undefined) request.addTrailers(ask.trailers);
        request.end();
      });
    });
  }

  #askHttp2(ask: Ask): Promise<Answer> {
    return new Promise((resolve) => {
      const got = new Got();
      const request = this.#session!.request({
        ":method": ask.method ?? "GET",
        ":path": ask.path,
        ...ask.headers,
      }, {
        endStream: ask.content === undefined && ask.trailers === undefined,
        waitForTrailers: ask.trailers !== undefined,
      });
      let trailers: Record<string, string> = {};
      request.on("response", (headers) => {
        got.status = Number(headers[":status"]);
        got.headers = plain(headers);
      });
      request.on("trailers", (fields) => trailers = plain(fields));
      request.on("data", (piece: Buffer) => {
        if (got.add(piece, ask)) request.close(http2.constants.NGHTTP2_CANCEL);
      });
      request.on("wantTrailers", () => request.sendTrailers({ ...ask.trailers }));
      let ended = false;
      const settle = () => {
        clearTimeout(timer);
        resolve(got.end(trailers, ended && request.rstCode === 0 && got.status > 0));
      };
      let timer: ReturnType<typeof setTimeout> | undefined;
      request.on("end", () => {
        ended = true;
        // A stream whose upload was given up is not always closed after the reset that says so.
        timer = setTimeout(settle, 200);
      });
      request.on("error", () => {});
      request.on("close", settle);
      if (ask.content === undefined && ask.trailers === undefined) return;
      void upload(request, ask).then(() => request.end());
    });
  }
}

/** Writes the content as fast as it is taken. */
async function upload(to: http.ClientRequest | http2.ClientHttp2Stream, ask: Ask): Promise<void> {
  let gone = false;
  const wake: (() => void)[] = [];
  const leave = () => {
    gone = true;
    for (const one of wake.splice(0)) one();
  };
  to.on("close", leave);
  to.on("error", leave);
  for (const piece of ask.content ?? []) {
    if (gone) return;
    if (to.write(Buffer.from(piece))) continue;
    await new Promise<void>((resolve) => {
      wake.push(resolve);
      to.once("drain", () => resolve());
    });
  }
}

class Got {
  status = 0;
  headers: Record<string, string> = {};
  #pieces: Buffer[] = [];
  #bytes = 0;
  #answer: Answer | null = null;

  /** Whether it is time to break off. */
  add(piece: Buffer, ask: Ask): boolean {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    return ask.breakAfter !== undefined && this.#bytes >= ask.breakAfter;
  }

  end(trailers: NodeJS.Dict<string>, whole: boolean): Answer {
    return this.#answer ??= {
      status: this.status,
      headers: this.headers,
      body: Buffer.concat(this.#pieces),
      trailers: plain(trailers),
      whole,
    };
  }
}

function plain(fields: object): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
