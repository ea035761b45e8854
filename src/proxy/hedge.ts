/**
 * Hedging: when an answer to a read is late, somebody else is asked, too, and the first answer is taken.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import type { Backend } from "../balancer/backend.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Connector } from "../connector/connector.ts";
import type { ResponseHead } from "../http/message.ts";
import { NO_CONTENT, type UpstreamSession } from "../http/session.ts";
import type { Exchange } from "./exchange.ts";
import { choicePeer } from "./choice_peer.ts";
import type { HedgeSettings } from "./route.ts";
import type { Choice, Upstreams } from "./upstreams.ts";

/** What hedging works with. */
export interface HedgeTools {
  readonly connector: Connector;
  readonly upstreams: Upstreams;
  readonly wheel: TimerWheel;
  /** Aborted when the client is gone, or with the error of a limit when the attempt's time is over. */
  readonly signal: AbortSignal;
}

/** One of those that were asked. */
export interface Leg {
  readonly choice: Choice;
  readonly upstream: UpstreamSession;
  /** `performance.now()` when it was asked. */
  readonly askedAt: number;
}

/** Whether a request may be hedged: a read without content, which may be asked any number of times. */
export function mayHedge(exchange: Exchange): boolean {
  const { method } = exchange.upstreamRequest();
  return (method === "GET" || method === "HEAD") && exchange.content.length === 0 &&
    exchange.downstream.upgrade === "";
}

/**
 * Waits for the final head of the first that answers. The others are given up; 1xx heads are not passed on, because
 * nobody knows yet whose answer it will be.
 *
 * @param first Who was asked already.
 * @returns The leg that won, its head in `exchange.response`.
 * @throws {ProxyError} If all failed: what the first one failed with.
 */
export async function raceForHead(
  exchange: Exchange,
  settings: HedgeSettings,
  tools: HedgeTools,
  first: Leg,
): Promise<Leg> {
  const race = new Race(exchange, settings, tools);
  return await race.run(first);
}

class Race {
  readonly #exchange: Exchange;
  readonly #settings: HedgeSettings;
  readonly #tools: HedgeTools;
  readonly #asked = new Set<Backend>();
  #first: Leg | null = null;
  readonly #legs = new Set<Leg>();
  readonly #giveUp = new AbortController();
  readonly #deadline: Deadline;
  /** Legs, and others being connected to. */
  #running = 1;
  #others = 0;
  #error: ProxyError | null = null;
  #over = false;
  #resolve!: (leg: Leg) => void;
  #reject!: (error: ProxyError) => void;

  constructor(exchange: Exchange, settings: HedgeSettings, tools: HedgeTools) {
    this.#exchange = exchange;
    this.#settings = settings;
    this.#tools = tools;
    this.#deadline = new Deadline(() => this.#askAnother());
  }

  async run(first: Leg): Promise<Leg> {
    const won = new Promise<Leg>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (first.choice.backend !== null) this.#asked.add(first.choice.backend);
    const { signal } = this.#tools;
    const gone = () => this.#reject(this.#whyOver(signal));
    signal.addEventListener("abort", gone, { once: true });
    this.#first = first;
    void this.#follow(first);
    this.#tools.wheel.arm(this.#deadline, this.#settings.after);
    try {
      return await won;
    } finally {
      this.#over = true;
      signal.removeEventListener("abort", gone);
      this.#tools.wheel.cancel(this.#deadline);
      this.#giveUp.abort();
      for (const leg of this.#legs) giveUp(leg);
    }
  }

  #whyOver({ reason }: AbortSignal): ProxyError {
    return this.#exchange.downstream.failure ??
      (reason instanceof ProxyError ? reason : CLIENT_GONE);
  }

  async #follow(leg: Leg): Promise<void> {
    this.#legs.add(leg);
    try {
      const head = await finalHead(leg.upstream);
      if (this.#over) return;
      this.#over = true;
      // The winner is not given up with the others.
      this.#legs.delete(leg);
      this.#exchange.response = head;
      this.#resolve(leg);
    } catch (caught) {
      this.#legs.delete(leg);
      const error = ProxyError.wrap(caught, "read_error", "Cannot read the response", "upstream");
      if (this.#over) return giveUp(leg);
      // What the first one failed with, when all have, is for the attempt to settle and to tell.
      if (this.#running > 1 || leg !== this.#first) {
        leg.choice.settle({ kind: "failed", status: 0, latency: systemClock.now() - leg.askedAt });
        leg.upstream.abort(error);
      }
      this.#failed(error);
    }
  }

  #failed(error: ProxyError): void {
    this.#error ??= error;
    if (--this.#running === 0) this.#reject(this.#error);
  }

  #askAnother(): void {
    const { max, after } = this.#settings;
    const group = this.#exchange.choice?.group?.name;
    if (this.#over || group === undefined || this.#others >= max) return;
    let choice: Choice;
    try {
      choice = this.#tools.upstreams.choose(group, this.#exchange, this.#asked);
    } catch {
      // Nobody else can be asked: what runs goes on.
      return;
    }
    if (choice.backend !== null && this.#asked.has(choice.backend)) {
      choice.settle(CANCELLED);
      return;
    }
    if (choice.backend !== null) this.#asked.add(choice.backend);
    this.#others++;
    this.#running++;
    this.#exchange.hedges++;
    void this.#ask(choice);
    if (this.#others < max) this.#tools.wheel.arm(this.#deadline, after);
  }

  async #ask(choice: Choice): Promise<void> {
    const askedAt = systemClock.now();
    let upstream: UpstreamSession;
    try {
      const request = this.#exchange.upstreamRequest();
      upstream = await this.#reach(choice, request.method);
      const leg = { choice, upstream, askedAt };
      if (this.#over) return giveUp(leg);
      this.#legs.add(leg);
      upstream.writeHead(request, NO_CONTENT);
      // A write that fails ends the reading, too, which is what is followed.
      const flushed = upstream.flush();
      if (flushed instanceof Promise) flushed.catch(() => {});
      void this.#follow(leg);
    } catch (caught) {
      const error = ProxyError.wrap(caught, "connect_error", "Cannot hedge", "upstream");
      const says = !this.#over && error.type !== "connection_limit";
      choice.settle(says ? { kind: "connect_failed", status: 0, latency: 0 } : CANCELLED);
      if (!this.#over) this.#failed(error);
    }
  }

  async #reach(choice: Choice, method: string): Promise<UpstreamSession> {
    const { connector } = this.#tools;
    const peer = choicePeer(this.#exchange, choice);
    const pooled = connector.take(peer, method);
    if (pooled !== null) return pooled;
    choice.startWaiting();
    try {
      return await connector.connect(peer, method, this.#giveUp.signal);
    } finally {
      choice.stopWaiting();
    }
  }
}

const CLIENT_GONE = new ProxyError("client_closed", "Connection: closed by the client", {
  source: "downstream",
});
const CANCELLED = { kind: "cancelled", status: 0, latency: 0 } as const;

function giveUp({ choice, upstream }: Leg): void {
  choice.settle(CANCELLED);
  upstream.abort();
}

async function finalHead(upstream: UpstreamSession): Promise<ResponseHead> {
  for (;;) {
    const read = upstream.readHead();
    const head = read instanceof Promise ? await read : read;
    if (!head.informational) return head;
  }
}
