/**
 * Clients of every kind that never stop: each answer has to be whole, and each tunnel alive.
 *
 * @module
 */
import assert from "node:assert/strict";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { pattern } from "../support/simple_origin.ts";
import { EchoSocket } from "../support/web_socket.ts";

/** Where the program listens, and whom its certificate is from. */
export interface LoadTarget {
  readonly port: number;
  readonly tlsPort: number;
  readonly ca: string;
}

/** What was done so far, by kind of client. */
export type LoadCounts = Record<
  "fresh" | "kept" | "tls" | "h2" | "downloads" | "echoes" | "sockets",
  number
>;

/** Milliseconds between two requests of one client: many kinds are wanted, not many requests. */
const PAUSE = 5;
const SMALL = 1_000;
const LARGE = 3_000_000;

/** Clients that run until they are stopped. */
export class Load implements AsyncDisposable {
  readonly counts: LoadCounts = {
    fresh: 0,
    kept: 0,
    tls: 0,
    h2: 0,
    downloads: 0,
    echoes: 0,
    sockets: 0,
  };
  /** What went wrong and should not have. */
  readonly failures: string[] = [];
  /** What went wrong while it was allowed to. */
  tolerated = 0;
  readonly #target: LoadTarget;
  readonly #large = pattern(LARGE);
  readonly #running: Promise<void>[];
  readonly #http: Deno.HttpClient;
  #tolerant = 0;
  #over = false;
  #move = 0;

  constructor(target: LoadTarget) {
    this.#target = target;
    this.#http = Deno.createHttpClient({ caCerts: [target.ca], http2: true });
    this.#running = [
      this.#repeat("fresh", () => this.#fresh()),
      this.#repeat("fresh", () => this.#fresh()),
      this.#repeat("kept", () => this.#kept()),
      this.#repeat("kept", () => this.#kept()),
      this.#repeat("tls", () => this.#tls()),
      this.#repeat("h2", () => this.#h2()),
      this.#repeat("h2", () => this.#h2()),
      this.#repeat("downloads", () => this.#download()),
      this.#repeat("sockets", () => this.#socket()),
      this.#repeat("sockets", () => this.#socket()),
    ];
  }

  /** Requests so far, of every kind. */
  get answered(): number {
    const { fresh, kept, tls, h2 } = this.counts;
    return fresh + kept + tls + h2;
  }

  /** Failures count as allowed until the function has ended, and for what was under way then. */
  async tolerating<T>(work: () => Promise<T>): Promise<T> {
    this.#tolerant++;
    try {
      return await work();
    } finally {
      // A client hears of a connection that is gone when it uses it the next time.
      await pause(500);
      this.#tolerant--;
    }
  }

  /** Has WebSockets begun anew, as clients do whose server has been upgraded. */
  moveSockets(): void {
    this.#move++;
  }

  /** Stops all clients, after what they are doing. */
  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#http.close();
  }

  async #repeat(kind: keyof LoadCounts, work: () => Promise<void>): Promise<void> {
    while (!this.#over) {
      const tolerant = this.#tolerant > 0;
      try {
        await work();
        this.counts[kind]++;
      } catch (error) {
        if (tolerant || this.#tolerant > 0) this.tolerated++;
        else if (this.failures.length < 20) {
          this.failures.push(
            `${new Date().toISOString()} ${kind}: ${error instanceof Error ? error.stack : error}`,
          );
        }
      }
      await pause(PAUSE);
    }
  }

  async #fresh(): Promise<void> {
    const answer = await rawRequest(this.#target.port, get(`/bytes/${SMALL}`));
    assert.equal(answer.status, 200);
    assert.equal(answer.body.length, SMALL);
  }

  /** Requests on one connection, until the server wants to close it. */
  async #kept(): Promise<void> {
    await using client = await RawClient.connect(this.#target.port);
    while (!this.#over) {
      const answer = await client.request(get(`/bytes/${SMALL}`));
      assert.equal(answer.status, 200);
      assert.equal(answer.body.length, SMALL);
      this.counts.kept++;
      if (answer.fields.some(([name]) => name.toLowerCase() === "connection")) return;
      await pause(PAUSE);
    }
  }

  async #tls(): Promise<void> {
    using connection = await Deno.connectTls({
      hostname: "127.0.0.1",
      port: this.#target.tlsPort,
      caCerts: [this.#target.ca],
      alpnProtocols: ["http/1.1"],
    });
    const ask = get(`/bytes/${SMALL}`, { Host: "127.0.0.1", Connection: "close" });
    await connection.write(new TextEncoder().encode(ask));
    const text = await new Response(connection.readable).text();
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.equal(text.length - text.indexOf("\r\n\r\n") - 4, SMALL);
  }

  async #h2(): Promise<void> {
    const response = await fetch(`https://127.0.0.1:${this.#target.tlsPort}/bytes/${SMALL}`, {
      client: this.#http,
    });
    const body = await response.bytes();
    assert.equal(response.status, 200);
    assert.equal(body.length, SMALL);
  }

  /** A download that takes seconds, every byte of which is looked at. */
  async #download(): Promise<void> {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: this.#target.port });
    const ask = get(`/bytes/${LARGE}`, { Connection: "close" });
    await connection.write(new TextEncoder().encode(ask));
    const buffer = new Uint8Array(64 * 1024);
    const decoder = new TextDecoder("latin1");
    let text = "";
    for (;;) {
      const length = await connection.read(buffer);
      if (length === null) break;
      text += decoder.decode(buffer.subarray(0, length));
      await pause(30);
    }
    const body = text.slice(text.indexOf("\r\n\r\n") + 4);
    assert.equal(body.length, LARGE);
    assert.ok(body === this.#large, "other bytes");
  }

  /** A WebSocket that lives until it is told to move. */
  async #socket(): Promise<void> {
    const move = this.#move;
    await using socket = await EchoSocket.open(this.#target.port);
    for (let i = 0; !this.#over && move === this.#move; i++) {
      await socket.echo(`message ${i}`);
      this.counts.echoes++;
      await pause(50);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
