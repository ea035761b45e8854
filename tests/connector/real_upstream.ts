/**
 * A connector over real sockets, and origins that say what a test tells them to.
 *
 * @module
 */
import type { SocketEngine } from "../../src/transport/socket.ts";
import { TimerWheel } from "../../src/base/timer_wheel.ts";
import { Connector, type ConnectorOptions } from "../../src/connector/connector.ts";
import { createPeer, type Peer, PEER_OPTIONS, type PeerOptions } from "../../src/connector/peer.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead } from "../../src/http/message.ts";
import { NO_CONTENT, type UpstreamSession } from "../../src/http/session.ts";
import { UPSTREAM_LIMITS } from "../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../src/http1/limits.ts";
import { settle } from "../support/recorder.ts";

export const HOST = "127.0.0.1";

/** What {@linkcode Origin} answers unless told otherwise. */
export const HELLO = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/** A connector with its wheel, closed at the end of the block. */
export class Use {
  readonly wheel = new TimerWheel({ tick: 10 });
  readonly connector: Connector;

  constructor(
    clearTextEngine: SocketEngine = "deno",
    options: Partial<ConnectorOptions> = {},
  ) {
    this.connector = new Connector({
      wheel: this.wheel,
      poolSize: 100,
      limits: UPSTREAM_LIMITS,
      chunkLimits: CHUNK_LIMITS,
      clearTextEngine,
      ...options,
    });
  }

  /** Takes an idle connection or makes one. */
  async session(peer: Peer): Promise<UpstreamSession> {
    return this.connector.take(peer, "GET") ?? await this.connector.connect(peer, "GET");
  }

  /** Does one exchange and gives the connection back. */
  async fetch(peer: Peer): Promise<string> {
    const session = await this.session(peer);
    const answer = await exchange(session);
    session.release();
    return answer;
  }

  /** Why connections to a peer ended, as `reason:count`. */
  evicted(peer: Peer): string {
    const history = this.connector.stats().history.get(peer.label);
    return Object.entries(history?.evicted ?? {}).filter(([, count]) => count > 0)
      .map((one) => one.join(":")).join();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connector.close();
    await settle(1);
    this.wheel.close();
  }
}

/** An origin that answers each piece that it reads by the next answer, and the last one for ever. */
export class Origin {
  readonly listener: Deno.Listener;
  readonly connections: Deno.Conn[] = [];
  /** What was read, as latin-1 text, by connection. */
  readonly heard: string[] = [];
  answers: string[] = [HELLO];
  accepted = 0;
  readonly #serving: Promise<void>;
  readonly #talks = new Set<Promise<void>>();

  constructor(listener: Deno.Listener = Deno.listen({ hostname: HOST, port: 0 })) {
    this.listener = listener;
    this.#serving = this.#serve();
  }

  get address(): { kind: "tcp"; host: string; port: number } {
    return { kind: "tcp", host: HOST, port: (this.listener.addr as Deno.NetAddr).port };
  }

  peer(options: Partial<PeerOptions> = {}): Peer {
    return createPeer({ address: this.address, options: { ...PEER_OPTIONS, ...options } });
  }

  async #serve(): Promise<void> {
    for (;;) {
      try {
        const connection = await this.listener.accept();
        this.connections.push(connection);
        const talk = this.#talk(connection, this.accepted++);
        this.#talks.add(talk);
        talk.finally(() => this.#talks.delete(talk));
      } catch (error) {
        // A handshake that failed is no reason to stop.
        if (error instanceof Deno.errors.BadResource) return;
        if (error instanceof Deno.errors.Interrupted) return;
      }
    }
  }

  async #talk(connection: Deno.Conn, index: number): Promise<void> {
    const into = new Uint8Array(64 * 1024);
    this.heard[index] = "";
    try {
      for (;;) {
        const length = await connection.read(into);
        if (length === null) break;
        this.heard[index] += String.fromCharCode(...into.subarray(0, length));
        // A PROXY header may come by itself, before the request.
        if (!this.heard[index]!.endsWith("\r\n\r\n")) continue;
        const answer = this.answers.length > 1 ? this.answers.shift()! : this.answers[0]!;
        await connection.write(Uint8Array.from(answer, (char) => char.charCodeAt(0)));
        if (answer.endsWith("<close>")) break;
      }
      connection.close();
    } catch {
      // The other side is gone, or the test is over.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.close();
    await this.#serving;
    for (const one of this.connections.splice(0)) {
      try {
        one.close();
      } catch {
        // It ended by itself.
      }
    }
    await Promise.all(this.#talks);
  }
}

/** Sends a GET and reads the response to its end. */
export async function exchange(session: UpstreamSession): Promise<string> {
  const fields = new Fields();
  fields.append("host", "origin.test");
  session.writeHead(
    new RequestHead({ method: "GET", version: 11, fields, target: "/" }),
    NO_CONTENT,
  );
  await session.flush();
  let head = await session.readHead();
  while (head.informational) head = await session.readHead();
  let text = "";
  while (!session.bodyDone) {
    const piece = await session.readBody();
    text += String.fromCharCode(...piece);
  }
  return `${head.status} ${text}`;
}
