/**
 * The life of a request, from its head to its log line.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { young } from "../base/young.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { ConnectionFacts, DownstreamSession } from "../http/session.ts";
import { Fields } from "../http/fields.ts";
import { hasNoContent, type RequestHead, ResponseHead } from "../http/message.ts";
import { isIdempotent } from "../http/method.ts";
import type { Cloneable, Reply } from "../plugin/session.ts";
import { Attempt, type AttemptTools } from "./attempt.ts";
import { errorResponse } from "./error_response.ts";
import { Exchange, type ExchangeOptions } from "./exchange.ts";
import { judge } from "./failure.ts";
import {
  type GrpcCall,
  grpcErrorResponse,
  grpcReply,
  type GrpcStatusResponse,
  readCall,
} from "./grpc_call.ts";
import { notReplayable } from "./request_content.ts";
import { checkLoop } from "./request_path.ts";
import type { Route } from "./route.ts";
import { applyRules, replyOfRules, type RuleReply } from "./rules.ts";
import { refuseSuccess } from "./upgrade.ts";

/** What `persistConnectionContext` kept, by connection. */
export type KeptContexts = WeakMap<ConnectionFacts, Cloneable>;

/** What a {@linkcode HttpProxy} is made from. */
export interface HttpProxyOptions extends AttemptTools {
  /** Default: of its own. Proxies that serve one connection after each other share them. */
  readonly kept?: KeptContexts;
  /** The route of a request, or `null`. */
  readonly route: (head: RequestHead) => Route | null;
  /** Called once for each request that is over; the exchange is good until it returns. */
  readonly onFinished: (exchange: Exchange) => void;
  /** Called once for each request, last of all: nothing of it is left to do. */
  readonly onReleased: () => void;
  /** Called with each error of a request; `final` is `false` when another attempt follows. */
  readonly onError: (
    exchange: Exchange,
    error: ProxyError,
    summary: string,
    final: boolean,
  ) => void;
}

/** Runs requests through the phases. */
export class HttpProxy {
  readonly #options: HttpProxyOptions;
  readonly #kept: KeptContexts;

  constructor(options: HttpProxyOptions) {
    this.#options = options;
    this.#kept = options.kept ?? new WeakMap();
  }

  /**
   * Handles one request. Never throws or rejects: whatever fails is answered, logged and counted.
   *
   * A promise is made, here and in all that is called from here, only for what has to be waited for: a request whose
   * hooks and rules leave it alone waits once, for the response head, and one that a rule answers not at all.
   */
  serve(downstream: DownstreamSession, options: ExchangeOptions): void | Promise<void> {
    const exchange = new Exchange(downstream, options);
    downstream.onFailure = young((error: ProxyError) => exchange.clientGone(error));
    try {
      const filtered = this.#filter(exchange);
      if (filtered === null) return this.#forward(exchange);
      if (filtered instanceof Promise) return this.#serveLater(exchange, filtered);
      const sent = this.#reply(exchange, filtered);
      if (sent !== undefined) return this.#settle(exchange, sent);
    } catch (caught) {
      return this.#giveUp(exchange, caught);
    }
    return this.#finish(exchange);
  }

  async #serveLater(exchange: Exchange, filtered: Promise<Reply | null>): Promise<void> {
    let reply: Reply | null;
    try {
      reply = await filtered;
    } catch (caught) {
      return await this.#giveUp(exchange, caught);
    }
    if (reply === null) await this.#forward(exchange);
    else await this.#settle(exchange, this.#replyLater(exchange, reply));
  }

  async #replyLater(exchange: Exchange, reply: Reply): Promise<void> {
    await this.#reply(exchange, reply);
  }

  /** Makes attempts until one has gone well, or there is to be no other. */
  async #forward(exchange: Exchange): Promise<void> {
    try {
      exchange.enterTunnels();
      exchange.route!.retry.request();
      for (let done = false; !done;) {
        const attempt = new Attempt(exchange, this.#options);
        let failure: unknown;
        try {
          const asked = attempt.ask();
          const answered = attempt.answer(asked instanceof Promise ? await asked : asked);
          if (answered !== undefined) await answered;
          done = true;
        } catch (caught) {
          failure = attempt.fail(caught);
        } finally {
          attempt.end();
        }
        if (!done) await this.#prepareRetry(exchange, failure);
      }
    } catch (caught) {
      return await this.#giveUp(exchange, caught);
    }
    const finished = this.#finish(exchange);
    if (finished !== undefined) await finished;
  }

  /** Waits for an answer that is being sent. */
  async #settle(exchange: Exchange, sent: Promise<void>): Promise<void> {
    try {
      await sent;
    } catch (caught) {
      return await this.#giveUp(exchange, caught);
    }
    await this.#finish(exchange);
  }

  /** Answers a request that has failed for good, and ends it. */
  async #giveUp(exchange: Exchange, caught: unknown): Promise<void> {
    const context = "Cannot handle the request";
    try {
      await this.#fail(exchange, ProxyError.wrap(caught, "internal_error", context, "internal"));
    } finally {
      await this.#finish(exchange);
    }
  }

  /**
   * All that comes before an upstream is chosen.
   *
   * @returns The answer of whoever answers instead, or `null`.
   */
  #filter(exchange: Exchange): Reply | null | Promise<Reply | null> {
    const { downstream } = exchange;
    const { head } = downstream;
    checkLoop(head);
    exchange.checkHost();
    const route = this.#options.route(head);
    if (route === null) {
      throw new ProxyError("no_route", "Cannot route the request: no route matches", {
        source: "internal",
      });
    }
    const { plan, modules } = route;
    exchange.route = route;
    exchange.plan = plan;
    if (modules !== null) exchange.modules = modules.begin(head);
    if (head.method === "POST") this.#readCall(exchange, route.grpcTimeout);
    if (route.bodyBytes !== null) downstream.limitBody(route.bodyBytes);
    return plan.onConnectionReuse === null && plan.earlyRequestFilter === null &&
        plan.allowSpawningSubrequest === null && plan.requestFilter === null &&
        plan.proxyUpstreamFilter === null
      ? this.#followRules(exchange)
      : this.#askHooks(exchange);
  }

  async #askHooks(exchange: Exchange): Promise<Reply | null> {
    const { engine } = this.#options;
    const { downstream, plan } = exchange;
    if (plan.onConnectionReuse !== null && this.#kept.has(downstream.connection)) {
      const kept = this.#kept.get(downstream.connection);
      this.#kept.delete(downstream.connection);
      await engine.chain(plan.onConnectionReuse, "onConnectionReuse", exchange.hooks, kept);
    }
    if (plan.earlyRequestFilter !== null) {
      const asked = engine.gate(plan.earlyRequestFilter, "earlyRequestFilter", exchange.hooks);
      const reply = asked instanceof Promise ? await asked : asked;
      if (reply) return reply;
    }
    if (plan.allowSpawningSubrequest !== null) {
      exchange.maySpawnSubrequests = await engine.first(
        plan.allowSpawningSubrequest,
        "allowSpawningSubrequest",
        exchange.hooks,
      ) ===
        true;
    }
    const ruled = this.#followRules(exchange);
    if (ruled !== null) return ruled;
    if (plan.requestFilter !== null) {
      const asked = engine.gate(plan.requestFilter, "requestFilter", exchange.hooks);
      const reply = asked instanceof Promise ? await asked : asked;
      if (reply) return reply;
    }
    if (plan.proxyUpstreamFilter !== null) {
      const asked = engine.gate(plan.proxyUpstreamFilter, "proxyUpstreamFilter", exchange.hooks);
      const reply = asked instanceof Promise ? await asked : asked;
      if (reply) return reply;
      if (reply === false) {
        throw new ProxyError("denied", "Cannot go on: proxyUpstreamFilter refused", {
          source: "internal",
          status: 502,
        });
      }
    }
    if (downstream.failure !== null) throw downstream.failure;
    return null;
  }

  /** If it is a gRPC call, it has a time in which it must be over. */
  #readCall(exchange: Exchange, most: number | null): void {
    const { head } = exchange.downstream;
    const call = exchange.grpc = readCall(head, exchange.modules !== null, most);
    if (call === null || call.timeout === Infinity) return;
    const left = Math.max(0, call.timeout - exchange.elapsed);
    exchange.limitTime(this.#options.wheel, left, () => call.expired());
  }

  /** Lets modules change the request, and the rules of the route answer or change it. */
  #followRules(exchange: Exchange): Reply | null {
    const { rules } = exchange.route!;
    exchange.modules?.requestHead(exchange.upstreamRequest());
    if (rules.length === 0) return null;
    const { head } = exchange.downstream;
    const reply = replyOfRules(rules, head);
    if (reply !== null) exchange.answeredBy = "rule";
    else applyRules(rules, "request", head, () => exchange.upstreamRequest().fields);
    return reply;
  }

  /**
   * Makes an exchange whose attempt has failed ready for another one, when it is time for that.
   *
   * @throws {ProxyError} What it failed with, if there is to be no other.
   */
  async #prepareRetry(exchange: Exchange, caught: unknown): Promise<void> {
    const { downstream, upstream, peer, choice } = exchange;
    const { retry } = exchange.route!;
    const error = ProxyError.wrap(caught, "internal_error", "Cannot make an attempt", "internal");
    upstream?.abort(error);
    if (downstream.failure !== null) throw downstream.failure;
    if (error.source === "downstream" || peer === null) throw error;
    const dead = error.retry === "reused-only" && upstream !== null && upstream.reused;
    const replay = error.unprocessed
      ? exchange.replays < FREE_REPLAYS
      : dead && !exchange.fresh && isIdempotent(exchange.upstreamRequest().method);
    if (!await this.#mayRetry(exchange, error, replay)) throw error;
    if (replay) exchange.replays++;
    this.#options.onError(exchange, error, await this.#summary(exchange), false);
    // A pooled connection that died, or a wish for the other version, says nothing about its peer; a failed peer does.
    if (dead) exchange.fresh = true;
    else if (choice?.backend && error.type !== "http_1_1_required") {
      (exchange.tried ??= new Set()).add(choice.backend);
    }
    exchange.response = null;
    if (dead || replay) return;
    const delay = retry.delay(exchange);
    if (delay > 0) await pause(this.#options.wheel, delay, exchange.signal);
    if (downstream.failure !== null) throw downstream.failure;
  }

  /**
   * Whether there will be another attempt: what hooks say, else what the policy of the route wants, as far as it is
   * safe.
   *
   * @param replay Whether another attempt is made in any case: a pooled connection has turned out to be dead, with a
   * request that may be sent twice, because the peer may have closed it before it saw the request; or the peer says that
   * it has done nothing with the request.
   */
  async #mayRetry(exchange: Exchange, error: ProxyError, replay: boolean): Promise<boolean> {
    const { downstream, upstream, content } = exchange;
    const { engine, maxRetries } = this.#options;
    const { retry, requestTimeout } = exchange.route!;
    const connected = upstream !== null;
    if (connected) error.from("upstream");
    // A status was allowed, paid for and agreed on by hooks when it was seen.
    if (error.type === "upstream_status") return true;
    if (requestTimeout !== null && exchange.elapsed >= requestTimeout) error.retry = false;
    else if (replay) error.retry = true;
    else {
      error.retry = !downstream.responded && content.replayable && exchange.attempt <= maxRetries &&
        retry.allowsError(exchange, error, connected);
    }
    await judge(exchange, engine, connected ? "errorWhileProxy" : "failToConnect", error);
    if (error.retry !== true || downstream.responded || exchange.attempt > maxRetries) return false;
    if (!content.replayable) throw notReplayable(error);
    return true;
  }

  /** Answers for a request that has failed for good. */
  async #fail(exchange: Exchange, error: ProxyError): Promise<void> {
    const { downstream, plan } = exchange;
    const { engine } = this.#options;
    exchange.error = error;
    exchange.upstream?.abort(error);
    if (downstream.failure !== null || downstream.responded || error.status === 0) {
      downstream.abort(error);
    } else {
      try {
        const reply = plan.failToProxy === null ? undefined : await engine.first(
          plan.failToProxy,
          "failToProxy",
          exchange.hooks,
          { type: error.type, source: error.source, message: error.message, status: error.status },
        ) as Reply | undefined;
        // A client that sent what it should not have may go on doing so.
        if (error.source === "downstream") downstream.keepAlive = false;
        if (reply === undefined) await this.#sendError(exchange, error);
        else await this.#reply(exchange, reply);
      } catch (caught) {
        downstream.abort(ProxyError.wrap(caught, "internal_error", "Cannot send the error"));
      }
    }
    const suppressed = plan.suppressErrorLog !== null &&
      await engine.first(plan.suppressErrorLog, "suppressErrorLog", exchange.hooks, {
          type: error.type,
          source: error.source,
          message: error.message,
          status: error.status,
        }) === true;
    if (!suppressed) {
      this.#options.onError(exchange, error, await this.#summary(exchange), true);
    }
  }

  async #sendError(exchange: Exchange, error: ProxyError): Promise<void> {
    const { grpc } = exchange;
    if (grpc !== null) return await this.#sendStatus(exchange, grpc, grpcErrorResponse(error));
    const request = exchange.downstream.head;
    const { head, body } = errorResponse(error, { request, requestId: exchange.id });
    await this.#send(exchange, head, body);
  }

  /** Answers a gRPC call by a status alone, where modules let trailers be trailers, else as they want it. */
  async #sendStatus(
    exchange: Exchange,
    call: GrpcCall,
    { head, status, code }: GrpcStatusResponse,
  ): Promise<void> {
    const { downstream, modules } = exchange;
    call.status = code;
    exchange.response = head;
    const frame = modules?.responseHead(head)?.trailers?.(status) ?? null;
    if (frame !== null) return await this.#send(exchange, head, frame);
    // Trailers-only: one head that is the end, too.
    for (const [name, value] of status) head.fields.appendTrusted(name, value);
    downstream.writeHead(head, { kind: "none" });
    await downstream.endBody(null);
  }

  #reply(exchange: Exchange, reply: Reply | RuleReply): void | Promise<void> {
    const ready = "fields" in reply && reply.fields instanceof Fields;
    const fields = ready ? reply.fields.fork() : new Fields();
    if (!ready) { for (const [name, value] of reply.headers) fields.append(name, value); }
    const head = new ResponseHead(reply.status, fields);
    const body = reply.body ?? NOTHING;
    const { grpc } = exchange;
    const made = grpc === null ? null : grpcReply(head, body);
    return made === null
      ? this.#send(exchange, head, body)
      : this.#sendStatus(exchange, grpc!, made);
  }

  #send(exchange: Exchange, head: ResponseHead, body: Uint8Array): void | Promise<void> {
    const { downstream } = exchange;
    if (downstream.upgrade !== "" && downstream.head.version >= 20) refuseSuccess(head.status);
    exchange.response = head;
    downstream.writeHead(
      head,
      head.status === 204 || head.status === 304
        ? { kind: "none" }
        : { kind: "length", length: body.length },
    );
    return hasNoContent(downstream.head.method, head.status)
      ? downstream.endBody(null)
      : downstream.writeBody(body, true);
  }

  async #summary(exchange: Exchange): Promise<string> {
    const { plan, downstream } = exchange;
    if (plan.requestSummary !== null) {
      const made = await this.#options.engine.first(
        plan.requestSummary,
        "requestSummary",
        exchange.hooks,
      );
      if (typeof made === "string") return made;
    }
    const { head } = downstream;
    return `${head.method} ${head.path}, Host: ${head.authority || "-"}`;
  }

  /** Logs, keeps what the next request of the connection wants, and lets go. Never throws or rejects. */
  #finish(exchange: Exchange): void | Promise<void> {
    const { plan, downstream } = exchange;
    exchange.finish();
    let logged: Promise<void> | undefined;
    try {
      if (plan.logging !== null) {
        logged = this.#options.engine.observe(plan.logging, "logging", exchange.hooks);
      }
      this.#options.onFinished(exchange);
      const keeps = plan.persistConnectionContext !== null && downstream.keepAlive;
      if (keeps || logged !== undefined) return this.#finishLater(exchange, keeps, logged);
    } catch (error) {
      reportError(error);
    }
    this.#release(exchange);
  }

  async #finishLater(
    exchange: Exchange,
    keeps: boolean,
    logged: Promise<void> | undefined,
  ): Promise<void> {
    const { plan, downstream, hooks } = exchange;
    try {
      if (keeps) {
        const links = plan.persistConnectionContext!;
        const kept = await this.#options.engine.first(links, "persistConnectionContext", hooks);
        if (kept !== undefined) this.#kept.set(downstream.connection, kept as Cloneable);
      }
      // The client has its answer; what a hook still reads must not be overwritten by the next request.
      await logged;
    } catch (error) {
      reportError(error);
    }
    this.#release(exchange);
  }

  #release(exchange: Exchange): void {
    exchange.release();
    this.#options.onReleased();
  }
}

const NOTHING = new Uint8Array(0);
/** So many times a request that the upstream did nothing with is sent again, whatever the policy. */
const FREE_REPLAYS = 2;

/** Waits, but not longer than somebody is there to wait for. */
function pause(wheel: TimerWheel, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const deadline = new Deadline(resolve);
    wheel.arm(deadline, ms);
    signal.addEventListener("abort", () => {
      wheel.cancel(deadline);
      resolve();
    }, { once: true });
  });
}
