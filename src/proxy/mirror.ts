/**
 * Mirroring: a share of the requests goes to another group as well, whose answers nobody sees. It has limits of its
 * own and takes nothing from the client: what cannot be copied in time is not copied.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Connector } from "../connector/connector.ts";
import type { RequestHead } from "../http/message.ts";
import { NO_CONTENT, type UpstreamSession } from "../http/session.ts";
import type { Choice, Upstreams } from "./upstreams.ts";

/** What a mirror is made from. */
export interface MirrorSettings {
  /** Name of the group. */
  readonly upstream: string;
  /** Share of the requests, 0 to 1. */
  readonly share: number;
  /** Most bytes of content; requests with more are not copied. */
  readonly maxBody: number;
  /** Most copies at a time in one service worker; further requests are not copied. */
  readonly maxConcurrent: number;
  /** Milliseconds for one copy, its answer included. */
  readonly timeout: number;
}

/** What a mirror works with. */
export interface MirrorTools {
  readonly connector: Connector;
  readonly upstreams: Upstreams;
  readonly wheel: TimerWheel;
  /** Numbers from 0 up to 1. Default: `Math.random`. */
  readonly random?: () => number;
}

/** A request to copy. */
export interface MirrorSubject {
  readonly clientAddress: string;
  readonly downstream: { readonly upgrade: string };
  readonly content: { tap(limit: number): Promise<Uint8Array | null> };
  upstreamRequest(): RequestHead;
}

/** How many copies there were. */
export interface MirrorCounts {
  sent: number;
  failed: number;
  /** Not copied: too much content, or too many at a time. */
  skipped: number;
}

/** Answers of a mirror are read to their end, so that the connection can be used again, but not for ever. */
const MOST_ANSWER = 1024 * 1024;

/** Copies the requests of a route. */
export class Mirror {
  readonly counts: MirrorCounts = { sent: 0, failed: 0, skipped: 0 };
  readonly #settings: MirrorSettings;
  readonly #tools: MirrorTools;
  #running = 0;

  constructor(settings: MirrorSettings, tools: MirrorTools) {
    this.#settings = settings;
    this.#tools = tools;
  }

  /** Name of the group that gets the copies. */
  get upstream(): string {
    return this.#settings.upstream;
  }

  /** Copies this request, or not; returns at once. To be called before its content is sent. */
  copy(exchange: MirrorSubject): void {
    const { share, maxBody, maxConcurrent } = this.#settings;
    if (share < 1 && (this.#tools.random ?? Math.random)() >= share) return;
    if (this.#running >= maxConcurrent || exchange.downstream.upgrade !== "") {
      this.counts.skipped++;
      return;
    }
    this.#running++;
    const content = exchange.content.tap(maxBody);
    // The bytes that the head was received in belong to the next request when this one is over.
    const head = exchange.upstreamRequest().detach();
    void this.#send(head, content, exchange.clientAddress).finally(() => this.#running--);
  }

  async #send(
    head: RequestHead,
    tapped: Promise<Uint8Array | null>,
    clientAddress: string,
  ): Promise<void> {
    const content = await tapped;
    if (content === null) {
      this.counts.skipped++;
      return;
    }
    const { connector, upstreams, wheel } = this.#tools;
    const abort = new AbortController();
    const deadline = new Deadline(() => abort.abort(timedOut()));
    wheel.arm(deadline, this.#settings.timeout);
    let choice: Choice | null = null;
    let upstream: UpstreamSession | null = null;
    const began = systemClock.now();
    try {
      const input = { head, clientAddress, hashValue: null, subset: null };
      choice = upstreams.choose(this.#settings.upstream, input, null);
      const reached = connector.take(choice.peer, head.method) ??
        await connector.connect(choice.peer, head.method, abort.signal);
      upstream = reached;
      const cut = () => reached.abort(timedOut());
      if (abort.signal.aborted) cut();
      abort.signal.addEventListener("abort", cut, { once: true });
      upstream.writeHead(
        head,
        content.length === 0 ? NO_CONTENT : { kind: "length", length: content.length },
      );
      if (content.length > 0) await upstream.writeBody(content, true);
      else await upstream.flush();
      let answer = await upstream.readHead();
      while (answer.informational) answer = await upstream.readHead();
      const latency = systemClock.now() - began;
      while (!upstream.bodyDone && upstream.bodyBytes < MOST_ANSWER) await upstream.readBody();
      choice.settle({ kind: "answered", status: answer.status, latency });
      abort.signal.removeEventListener("abort", cut);
      upstream.release();
      this.counts.sent++;
    } catch {
      upstream?.abort();
      choice?.settle({ kind: "failed", status: 0, latency: systemClock.now() - began });
      this.counts.failed++;
    } finally {
      wheel.cancel(deadline);
    }
  }
}

function timedOut(): ProxyError {
  return new ProxyError("first_byte_timeout", "Mirror: not answered in time", {
    source: "upstream",
  });
}
