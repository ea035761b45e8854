/**
 * A small HTTP/1.1 server for operators and their tools: on the main thread, with our own codec and all its bounds.
 *
 * @module
 */
import type { ProxyError } from "../../base/error.ts";
import { TimerWheel } from "../../base/timer_wheel.ts";
import { Fields } from "../../http/fields.ts";
import { DOWNSTREAM_LIMITS, type DownstreamLimits } from "../../http/limits.ts";
import { CHUNK_LIMITS } from "../../http1/limits.ts";
import { hasNoContent, ResponseHead } from "../../http/message.ts";
import type { DownstreamSession } from "../../http/session.ts";
import { Http1DownstreamConnection } from "../../http1/downstream_connection.ts";
import type { Http1ServerOptions } from "../../http1/server_options.ts";
import type { Logger } from "../../observe/log.ts";
import { literal } from "../../observe/log.ts";
import type { Address } from "../../transport/address.ts";
import { listen } from "../../transport/listen.ts";
import type { Listener } from "../../transport/listener.ts";

/** A request to an endpoint. */
export interface EndpointRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** The value of a field, or `null`. */
  field(name: string): string | null;
  /** Text of the content; at most {@linkcode MOST_CONTENT} bytes. */
  readonly content: string;
}

/** What is answered. */
export interface EndpointAnswer {
  readonly status: number;
  /** Content-Type of `body`. */
  readonly type: string;
  readonly body: string;
  readonly fields?: Readonly<Record<string, string>>;
}

/** What an {@linkcode HttpEndpoint} is made from. */
export interface HttpEndpointOptions {
  /** For messages. */
  readonly name: string;
  readonly address: Address;
  /** Whether a unix socket may be taken from whoever listens on it. */
  readonly takeOver: boolean;
  readonly log: Logger;
  /** Answers; must not throw. */
  readonly answer: (request: EndpointRequest) => EndpointAnswer | Promise<EndpointAnswer>;
}

/** Bytes of content that a request may have. */
export const MOST_CONTENT = 64 * 1024;
/** Connections at a time; one more, and the oldest that waits for its client is closed. */
export const MOST_CONNECTIONS = 64;
/** Connections for which something is being done, and which are not closed for others, at most. */
const MOST_BUSY = MOST_CONNECTIONS;

const LIMITS: DownstreamLimits = {
  ...DOWNSTREAM_LIMITS,
  headBytes: 16 * 1024,
  bodyBytes: MOST_CONTENT,
  bodyTimeout: 10_000,
};

const encoder = new TextEncoder();

/** Something that listens and answers. */
export class HttpEndpoint {
  readonly #options: HttpEndpointOptions;
  readonly #wheel = new TimerWheel();
  /** The oldest first. */
  readonly #connections = new Set<Http1DownstreamConnection>();
  /** Those whose request is there, and its answer not yet. */
  readonly #busy = new Set<number>();
  #listener: Listener | null = null;
  #lastId = 0;

  private constructor(options: HttpEndpointOptions) {
    this.#options = options;
  }

  /**
   * Starts one.
   *
   * @throws {ProxyError} `bind_error` if it cannot listen.
   */
  static async start(options: HttpEndpointOptions): Promise<HttpEndpoint> {
    const endpoint = new HttpEndpoint(options);
    await endpoint.#listen();
    return endpoint;
  }

  /** Where it listens, with the port that the system chose. */
  get address(): Address {
    return this.#listener!.address;
  }

  /** Stops listening. */
  leave(): void {
    this.#listener?.close();
  }

  /** Stops listening and closes every connection. */
  close(): void {
    this.#listener?.close();
    for (const connection of [...this.#connections]) connection.destroy();
    this.#wheel.close();
  }

  async #listen(): Promise<void> {
    const { name, address, takeOver, log } = this.#options;
    const http: Http1ServerOptions = {
      listener: name,
      limits: LIMITS,
      chunkLimits: CHUNK_LIMITS,
      wheel: this.#wheel,
      allowConnect: false,
      abortOnClose: false,
      serve: (session) => this.#serve(session),
      refuse: (error) => refusal(error),
    };
    this.#listener = await listen({
      name,
      address,
      unixMode: 0o600,
      takeOver,
      maxConnections: MOST_CONNECTIONS + MOST_BUSY,
      onSocket: (socket) => {
        this.#makeRoom();
        const facts = {
          id: ++this.#lastId,
          remote: socket.remote,
          local: socket.local,
          tls: null,
          since: performance.now(),
        };
        const connection = new Http1DownstreamConnection(socket, facts, http, {
          onClosed: () => this.#connections.delete(connection),
        });
        this.#connections.add(connection);
        connection.start();
      },
      onError: (error) => log.error(`${literal(error.explain())}`),
    });
  }

  /** Whoever only holds connections must keep nobody from asking, least of all a probe. */
  #makeRoom(): void {
    if (this.#connections.size < MOST_CONNECTIONS) return;
    for (const connection of this.#connections) {
      if (!this.#busy.has(connection.facts.id)) return connection.destroy();
    }
  }

  async #serve(session: DownstreamSession): Promise<void> {
    const { log, name, answer } = this.#options;
    const { id } = session.connection;
    try {
      const content = await readContent(session);
      this.#busy.add(id);
      const { head } = session;
      const given = await answer({
        method: head.method,
        path: head.path,
        query: head.query,
        field: (name) => head.fields.get(name),
        content,
      });
      await send(session, given);
    } catch (caught) {
      const error = caught as ProxyError;
      if (session.failure !== null || session.responded) return session.abort(error);
      if (error.source !== "downstream") {
        log.error(`A request to ${name} failed`, { error: caught });
      }
      session.keepAlive = false;
      const { head, body } = refusal(error);
      try {
        session.writeHead(head, { kind: "length", length: body.length });
        await session.writeBody(body, true);
      } catch (again) {
        session.abort(again as ProxyError);
      }
    } finally {
      this.#busy.delete(id);
    }
  }
}

async function readContent(session: DownstreamSession): Promise<string> {
  const pieces: Uint8Array[] = [];
  while (!session.bodyDone) pieces.push((await session.readBody()).slice());
  if (pieces.length === 0) return "";
  return await new Blob(pieces as Uint8Array<ArrayBuffer>[]).text();
}

async function send(session: DownstreamSession, answer: EndpointAnswer): Promise<void> {
  const fields = new Fields();
  fields.append("Content-Type", answer.type);
  fields.append("Cache-Control", "no-store");
  fields.append("X-Content-Type-Options", "nosniff");
  for (const [name, value] of Object.entries(answer.fields ?? {})) fields.append(name, value);
  const body = encoder.encode(answer.body);
  const { method } = session.head;
  session.writeHead(new ResponseHead(answer.status, fields), {
    kind: "length",
    length: body.length,
  });
  if (hasNoContent(method, answer.status)) await session.endBody(null);
  else await session.writeBody(body, true);
}

/** The answer to a request that could not be read, or whose handling broke. */
function refusal(error: ProxyError): { head: ResponseHead; body: Uint8Array } {
  const { status, type, body } = error.source === "downstream" && error.status >= 400
    ? problem(error.status, error.type, `${error.message}.`)
    : problem(500, "internal_error", "The log of the program tells more.");
  const fields = new Fields();
  fields.append("Content-Type", type);
  fields.append("Cache-Control", "no-store");
  return { head: new ResponseHead(status, fields), body: encoder.encode(body) };
}

const TITLES: { readonly [status: number]: string } = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

/**
 * A problem document (RFC 9457).
 *
 * @param name What kind of problem, as the end of its URN.
 * @param detail A sentence: what was found, and what to do.
 * @param more Further members.
 */
export function problem(
  status: number,
  name: string,
  detail: string,
  more: Readonly<Record<string, unknown>> = {},
): EndpointAnswer {
  const document = {
    type: `urn:sluice:problem:${name}`,
    title: TITLES[status] ?? "Error",
    status,
    detail,
    ...more,
  };
  return {
    status,
    type: "application/problem+json",
    body: `${JSON.stringify(document)}\n`,
  };
}

/** An answer of data. */
export function json(data: unknown, status: number = 200): EndpointAnswer {
  return { status, type: "application/json", body: `${JSON.stringify(data, null, 2)}\n` };
}

/** An answer of plain text. */
export function plain(text: string, status: number = 200): EndpointAnswer {
  return { status, type: "text/plain; charset=utf-8", body: `${text}\n` };
}

/** The answer to a method that a path does not have. */
export function notAllowed(methods: readonly string[]): EndpointAnswer {
  const allow = methods.join(", ");
  return {
    ...problem(405, "method_not_allowed", `This path takes ${allow}.`),
    fields: { Allow: allow },
  };
}
