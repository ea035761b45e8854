/**
 * Connections of the HTTP/1 codec over memory sockets.
 *
 * @module
 */
import { ManualClock } from "../../src/base/clock.ts";
import type { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { Fields } from "../../src/http/fields.ts";
import { ResponseHead } from "../../src/http/message.ts";
import type { ConnectionFacts, DownstreamSession } from "../../src/http/session.ts";
import { Http1DownstreamConnection } from "../../src/http1/downstream_connection.ts";
import {
  DOWNSTREAM_LIMITS,
  type DownstreamLimits,
  UPSTREAM_LIMITS,
  type UpstreamLimits,
} from "../../src/http/limits.ts";
import { CHUNK_LIMITS, type ChunkLimits } from "../../src/http1/limits.ts";
import {
  Http1UpstreamConnection,
  type UpstreamTimeouts,
} from "../../src/http1/upstream_connection.ts";
import { MemorySocket, type MemorySocketOptions, settled } from "./memory_socket.ts";

/** Bytes of a latin-1 text. */
export function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** Latin-1 text of bytes. */
export function text(data: Uint8Array): string {
  let result = "";
  for (const byte of data) result += String.fromCharCode(byte);
  return result;
}

/** What {@linkcode connectDownstream} takes. */
export interface DownstreamTestOptions extends MemorySocketOptions {
  readonly limits?: Partial<DownstreamLimits>;
  readonly chunkLimits?: Partial<ChunkLimits>;
  readonly allowConnect?: boolean;
  readonly abortOnClose?: boolean;
  readonly serve?: (session: DownstreamSession) => void | Promise<void>;
}

/** A client's connection under test. */
export interface DownstreamTest {
  readonly socket: MemorySocket;
  readonly connection: Http1DownstreamConnection;
  readonly sessions: DownstreamSession[];
  readonly refusals: ProxyError[];
  readonly closed: { count: number };
  /** Lets time pass and everything happen. */
  pass(ms: number): Promise<void>;
}

function facts(): ConnectionFacts {
  const address = { kind: "tcp", host: "192.0.2.1", port: 1234 } as const;
  return { id: 1, remote: address, local: address, tls: null, since: 0 };
}

/** Answers 200 with `ok` at once. */
export function answerOk(session: DownstreamSession): void {
  session.writeHead(new ResponseHead(200), { kind: "length", length: 2 });
  session.writeBody(bytes("ok"), true);
}

/** Reads all content. */
export async function readAll(
  source: { readBody(): Uint8Array | Promise<Uint8Array>; readonly bodyDone: boolean },
): Promise<string> {
  let all = "";
  for (;;) {
    const piece = await source.readBody();
    all += text(piece);
    if (source.bodyDone) return all;
  }
}

/** Reads all content and sends it back with its length. */
export async function echo(session: DownstreamSession): Promise<void> {
  const body = bytes(await readAll(session));
  session.writeHead(new ResponseHead(200), { kind: "length", length: body.length });
  await session.writeBody(body, true);
}

/** Makes a client's connection and starts it. */
export function connectDownstream(options: DownstreamTestOptions = {}): DownstreamTest {
  const socket = new MemorySocket(options);
  const clock = new ManualClock();
  clock.advance(1000);
  const wheel = new TimerWheel({ clock });
  const sessions: DownstreamSession[] = [];
  const refusals: ProxyError[] = [];
  const closed = { count: 0 };
  const serve = options.serve ?? answerOk;
  const connection = new Http1DownstreamConnection(socket, facts(), {
    listener: "test",
    limits: { ...DOWNSTREAM_LIMITS, ...options.limits },
    chunkLimits: { ...CHUNK_LIMITS, ...options.chunkLimits },
    wheel,
    allowConnect: options.allowConnect ?? false,
    abortOnClose: options.abortOnClose ?? true,
    serve(session) {
      sessions.push(session);
      return serve(session);
    },
    refuse(error) {
      refusals.push(error);
      return {
        head: new ResponseHead(error.status, Fields.from([["X-Error", error.type]])),
        body: bytes("no\n"),
      };
    },
  }, { onClosed: () => closed.count++ });
  connection.start();
  return {
    socket,
    connection,
    sessions,
    refusals,
    closed,
    async pass(ms) {
      await settled();
      clock.advance(ms);
      wheel.advance();
      await settled();
    },
  };
}

/** What {@linkcode connectUpstream} takes. */
export interface UpstreamTestOptions extends MemorySocketOptions {
  readonly limits?: Partial<UpstreamLimits>;
  readonly chunkLimits?: Partial<ChunkLimits>;
  readonly timeouts?: Partial<UpstreamTimeouts>;
}

/** A connection to an upstream under test. */
export interface UpstreamTest {
  readonly socket: MemorySocket;
  readonly connection: Http1UpstreamConnection;
  readonly events: string[];
  pass(ms: number): Promise<void>;
}

/** Makes a connection to an upstream. */
export function connectUpstream(options: UpstreamTestOptions = {}): UpstreamTest {
  const socket = new MemorySocket(options);
  const clock = new ManualClock();
  clock.advance(1000);
  const wheel = new TimerWheel({ clock });
  const connection = new Http1UpstreamConnection(socket, facts(), {
    limits: { ...UPSTREAM_LIMITS, ...options.limits },
    chunkLimits: { ...CHUNK_LIMITS, ...options.chunkLimits },
    wheel,
    timeouts: {
      firstByteTimeout: 3000,
      readTimeout: 2000,
      writeTimeout: 1000,
      ...options.timeouts,
    },
  });
  const events: string[] = [];
  connection.onIdle = () => events.push("idle");
  connection.onClosed = () => events.push("closed");
  return {
    socket,
    connection,
    events,
    async pass(ms) {
      await settled();
      clock.advance(ms);
      wheel.advance();
      await settled();
    },
  };
}

/** Runs `test` while errors given to `reportError` are caught; returns them. */
export async function collectReports(test: () => Promise<void>): Promise<unknown[]> {
  const reports: unknown[] = [];
  const listener = (event: ErrorEvent) => {
    event.preventDefault();
    reports.push(event.error);
  };
  globalThis.addEventListener("error", listener);
  try {
    await test();
  } finally {
    globalThis.removeEventListener("error", listener);
  }
  return reports;
}

/** A response without its Date, which no test can know. */
export function withoutDate(response: string): string {
  return response.replaceAll(/Date: [^\r]*\r\n/g, "");
}
