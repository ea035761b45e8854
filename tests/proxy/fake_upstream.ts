/**
 * An upstream's side of an attempt that exists only in memory, and a connector that hands such out.
 *
 * @module
 */
import { ProxyError } from "../../src/base/error.ts";
import type { Connector } from "../../src/connector/connector.ts";
import type { Peer } from "../../src/connector/peer.ts";
import { Fields } from "../../src/http/fields.ts";
import { type RequestHead, ResponseHead } from "../../src/http/message.ts";
import type { Framing, UpstreamSession } from "../../src/http/session.ts";

/** What became of a fake upstream, and how to make it answer. */
export class FakeUpstream {
  readonly peer: string;
  head: RequestHead | null = null;
  framing: Framing | null = null;
  body = "";
  released = 0;
  aborted = 0;
  /** As the proxy sees it. */
  readonly session: UpstreamSession;
  readonly #answer = Promise.withResolvers<ResponseHead>();

  constructor(peer: Peer) {
    this.peer = peer.label;
    // A rejection is for whoever reads the head, if anybody does.
    this.#answer.promise.catch(() => {});
    const session = {
      reused: false,
      bodyDone: true,
      bodyBytes: 0,
      writeHead: (head: RequestHead, framing: Framing) => {
        this.head = head;
        this.framing = framing;
      },
      writeBody: (bytes: Uint8Array) => {
        this.body += new TextDecoder().decode(bytes);
      },
      flush: () => {},
      readHead: () => this.#answer.promise,
      readBody: () => new Uint8Array(0),
      release: () => this.released++,
      abort: (error?: ProxyError) => {
        this.aborted++;
        this.fail(error);
      },
    };
    this.session = session as unknown as UpstreamSession;
  }

  answer(status = 200): void {
    this.#answer.resolve(new ResponseHead(status, new Fields()));
  }

  fail(error?: ProxyError): void {
    this.#answer.reject(
      error ?? new ProxyError("connection_closed", "Connection: closed", { source: "upstream" }),
    );
  }
}

/** Hands out fake upstreams. */
export class FakeConnector {
  /** All that were handed out, in order. */
  readonly made: FakeUpstream[] = [];
  /** Labels of peers that cannot be connected to. */
  readonly dead: Set<string> = new Set();

  get connector(): Connector {
    return this as unknown as Connector;
  }

  take(): null {
    return null;
  }

  connect(peer: Peer): Promise<UpstreamSession> {
    if (this.dead.has(peer.label)) {
      return Promise.reject(
        new ProxyError("connect_refused", "Connecting: refused", { source: "upstream" }),
      );
    }
    const upstream = new FakeUpstream(peer);
    this.made.push(upstream);
    return Promise.resolve(upstream.session);
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
