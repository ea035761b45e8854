/**
 * Clients of every kind that never stop: each answer has to be whole, and each tunnel alive.
 *
 * @module
 */
import assert from "node:assert/strict";
import { field } from "../support/http_text.ts";
import { get, RawClient, rawRequest } from "../support/raw_client.ts";
import { pattern } from "../support/simple_origin.ts";
import { EchoSocket } from "../support/web_socket.ts";

/** Where the program listens, and whom its certificate is from. */
export interface LoadTarget {
  readonly port: number;
  readonly tlsPort: number;
  readonly ca: string;
  /** Path of the socket of the admin interface. */
  readonly admin: string;
}

/** Something that went wrong. */
export interface Loss {
  readonly kind: keyof LoadCounts;
  /**
   * When its connection was asked for, or the request began where nobody knows the connection; in milliseconds of
   * `performance.now()`.
   */
  readonly openedAt: number;
  /** The service worker that answered on the connection before; `null` if none had. */
  readonly worker: string | null;
  /** Whether the connection had carried a request before, and may have been closed while it was idle. */
  readonly reused: boolean;
  readonly text: string;
}

/** What is known of the connection that a client uses. */
interface Trace {
  openedAt: number;
  worker: string | null;
  reused: boolean;
}

/** The field of answers that names the service worker. */
export const WORKER_FIELD = "x-worker";

/** What was done so far, by kind of client. */
export type LoadCounts = Record<
  "fresh" | "kept" | "tls" | "h2" | "downloads" | "echoes" | "sockets" | "probes",
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
    probes: 0,
  };
  readonly #losses: Loss[] = [];
  readonly #target: LoadTarget;
  readonly #large = pattern(LARGE);
  readonly #running: Promise<void>[];
  #over = false;
  #move = 0;

  constructor(target: LoadTarget) {
    this.#target = target;
    this.#running = [
      this.#repeat("fresh", () => this.#fresh()),
      this.#repeat("fresh", () => this.#fresh()),
      this.#repeat("kept", (trace) => this.#kept(trace)),
      this.#repeat("kept", (trace) => this.#kept(trace)),
      this.#repeat("tls", () => this.#tls()),
      this.#repeat("h2", (trace) => this.#h2(trace)),
      this.#repeat("h2", (trace) => this.#h2(trace)),
      this.#repeat("downloads", (trace) => this.#download(trace)),
      this.#repeat("sockets", (trace) => this.#socket(trace)),
      this.#repeat("sockets", (trace) => this.#socket(trace)),
      this.#repeat("probes", () => this.#probe()),
    ];
  }

  /** Requests so far, of every kind. */
  get answered(): number {
    const { fresh, kept, tls, h2 } = this.counts;
    return fresh + kept + tls + h2;
  }

  /** What went wrong since it was last asked. */
  takeLosses(): Loss[] {
    return this.#losses.splice(0);
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
  }

  async #repeat(
    kind: keyof LoadCounts,
    work: (trace: Trace) => Promise<void>,
  ): Promise<void> {
    while (!this.#over) {
      const trace: Trace = { openedAt: performance.now(), worker: null, reused: false };
      try {
        await work(trace);
        this.counts[kind]++;
      } catch (error) {
        const { openedAt, worker, reused } = trace;
        const said = error instanceof Error ? `${error.stack} ${error.cause ?? ""}` : error;
        const text = `${new Date().toISOString()} ${kind} (${JSON.stringify(trace)}): ${said}`;
        this.#losses.push({ kind, openedAt, worker, reused, text });
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
  async #kept(trace: Trace): Promise<void> {
    await using client = await RawClient.connect(this.#target.port);
    while (!this.#over) {
      const answer = await client.request(get(`/bytes/${SMALL}`));
      assert.equal(answer.status, 200);
      assert.equal(answer.body.length, SMALL);
      this.counts.kept++;
      if (field(answer, "connection") !== null) return;
      trace.worker = field(answer, WORKER_FIELD);
      trace.reused = true;
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

  /** Requests of a client that keeps a connection, and connects again by itself: which one it is on, nobody knows. */
  async #h2(trace: Trace): Promise<void> {
    using client = Deno.createHttpClient({ caCerts: [this.#target.ca], http2: true });
    while (!this.#over) {
      trace.openedAt = performance.now();
      const response = await fetch(`https://127.0.0.1:${this.#target.tlsPort}/bytes/${SMALL}`, {
        client,
      });
      const body = await response.bytes();
      assert.equal(response.status, 200);
      assert.equal(body.length, SMALL);
      this.counts.h2++;
      trace.reused = true;
      await pause(PAUSE);
    }
  }

  /** A download that takes seconds, every byte of which is looked at. */
  async #download(trace: Trace): Promise<void> {
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
      trace.worker ??= /^x-worker: (.*)\r$/im.exec(text.slice(0, 2_000))?.[1] ?? null;
      await pause(30);
    }
    const body = text.slice(text.indexOf("\r\n\r\n") + 4);
    assert.equal(body.length, LARGE);
    assert.ok(body === this.#large, "other bytes");
  }

  /** What a load balancer asks. */
  async #probe(): Promise<void> {
    const answer = await rawRequest({ path: this.#target.admin }, get("/livez"));
    assert.equal(answer.status, 200);
    await pause(50);
  }

  /** A WebSocket that lives until it is told to move. */
  async #socket(trace: Trace): Promise<void> {
    const move = this.#move;
    await using socket = await EchoSocket.open(this.#target.port);
    trace.worker = field(socket.answer, WORKER_FIELD);
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
