/**
 * Connections of HTTP/2 clients over memory sockets.
 *
 * @module
 */
import { ManualClock } from "../../src/base/clock.ts";
import type { ProxyError } from "../../src/base/error.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { DOWNSTREAM_LIMITS, type DownstreamLimits } from "../../src/http/limits.ts";
import { ResponseHead } from "../../src/http/message.ts";
import type { DownstreamSession } from "../../src/http/session.ts";
import { Http2DownstreamConnection } from "../../src/http2/downstream_connection.ts";
import { HTTP2_LIMITS, type Http2Limits } from "../../src/http2/limits.ts";
import { MemorySocket, type MemorySocketOptions, settled } from "./memory_socket.ts";

/** What {@linkcode connectHttp2} takes. */
export interface Http2TestOptions extends MemorySocketOptions {
  readonly limits?: Partial<DownstreamLimits>;
  readonly http2?: Partial<Http2Limits>;
  readonly abortOnClose?: boolean;
  readonly serve: (session: DownstreamSession) => void | Promise<void>;
}

/** A client's connection under test. */
export interface Http2Test {
  readonly socket: MemorySocket;
  readonly connection: Http2DownstreamConnection;
  readonly sessions: DownstreamSession[];
  readonly faults: ProxyError[];
  readonly closed: { count: number };
  readonly wheel: TimerWheel;
  /** Lets time pass and everything happen. */
  pass(ms: number): Promise<void>;
}

/** Makes a connection and starts it. */
export function connectHttp2(options: Http2TestOptions): Http2Test {
  const clock = new ManualClock();
  const wheel = new TimerWheel({ clock });
  const socket = new MemorySocket(options);
  const sessions: DownstreamSession[] = [];
  const faults: ProxyError[] = [];
  const closed = { count: 0 };
  const address = { kind: "tcp", host: "192.0.2.1", port: 1234 } as const;
  const connection = new Http2DownstreamConnection(
    socket,
    { id: 1, remote: address, local: address, tls: null, since: 0 },
    {
      listener: "test",
      limits: { ...DOWNSTREAM_LIMITS, ...options.limits },
      http2: { ...HTTP2_LIMITS, ...options.http2 },
      wheel,
      allowConnect: true,
      abortOnClose: options.abortOnClose ?? true,
      serve: (session) => {
        sessions.push(session);
        return options.serve(session);
      },
      refuse: (error) => ({ head: new ResponseHead(error.status), body: new Uint8Array(2) }),
      onFault: (error) => faults.push(error),
    },
    { onClosed: () => closed.count++ },
  );
  connection.start();
  return {
    socket,
    connection,
    sessions,
    faults,
    closed,
    wheel,
    pass: async (ms) => {
      clock.advance(ms);
      wheel.advance();
      await settled();
    },
  };
}
