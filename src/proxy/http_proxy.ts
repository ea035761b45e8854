/**
 * The life of a request, from its head to its log line.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Backend } from "../balancer/backend.ts";
import type { ConnectionFacts, DownstreamSession } from "../http/session.ts";
import { Fields } from "../http/fields.ts";
import { hasNoContent, type RequestHead, ResponseHead } from "../http/message.ts";
import { isIdempotent } from "../http/method.ts";
import type { Cloneable, Reply } from "../plugin/session.ts";
import { type AttemptTools, makeAttempt } from "./attempt.ts";
import { errorResponse } from "./error_response.ts";
import { Exchange, type ExchangeOptions } from "./exchange.ts";
import { judge } from "./failure.ts";
import { notReplayable } from "./request_content.ts";
import { checkLoop } from "./request_path.ts";
import type { Route } from "./route.ts";
import { applyRules, replyOfRules } from "./rules.ts";

/** What a {@linkcode HttpProxy} is made from. */
export interface HttpProxyOptions extends AttemptTools {
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
  /** What `persistConnectionContext` kept, by connection. */
  readonly #kept = new WeakMap<ConnectionFacts, Cloneable>();

  constructor(options: HttpProxyOptions) {
    this.#options = options;
  }

  /** Handles one request. Never rejects: whatever fails is answered, logged and counted. */
  async serve(downstream: DownstreamSession, options: ExchangeOptions): Promise<void> {
    const exchange = new Exchange(downstream, options);
    downstream.onFailure = (error) => exchange.clientGone(error);
    try {
      try {
        await this.#run(exchange);
      } catch (caught) {
        const error = ProxyError.wrap(
          caught,
          "internal_error",
          "Cannot handle the request",
          "internal",
        );
        await this.#fail(exchange, error);
      }
    } finally {
      await this.#finish(exchange);
    }
  }

  async #run(exchange: Exchange): Promise<void> {
    const { engine } = this.#options;
    const { downstream } = exchange;
    const { head } = downstream;
    checkLoop(head);
    const route = this.#options.route(head);
    if (route === null) {
      throw new ProxyError("no_route", "Cannot route the request: no route matches", {
        source: "internal",
      });
    }
    const { plan, rules } = route;
    exchange.route = route;
    exchange.plan = plan;
    if (route.bodyBytes !== null) downstream.limitBody(route.bodyBytes);
    if (plan.onConnectionReuse !== null && this.#kept.has(downstream.connection)) {
      const kept = this.#kept.get(downstream.connection);
      this.#kept.delete(downstream.connection);
      await engine.chain(plan.onConnectionReuse, "onConnectionReuse", exchange.hooks, kept);
    }
    if (plan.earlyRequestFilter !== null) {
      const reply = await engine.gate(
        plan.earlyRequestFilter,
        "earlyRequestFilter",
        exchange.hooks,
      );
      if (reply) return await this.#reply(exchange, reply);
    }
    if (plan.allowSpawningSubrequest !== null) {
      exchange.maySpawnSubrequests = await engine.first(
        plan.allowSpawningSubrequest,
        "allowSpawningSubrequest",
        exchange.hooks,
      ) ===
        true;
    }
    if (rules.length > 0) {
      const reply = replyOfRules(rules, head);
      if (reply !== null) {
        exchange.answeredBy = "rule";
        return await this.#reply(exchange, reply);
      }
      applyRules(rules, "request", head, () => exchange.upstreamRequest().fields);
    }
    if (plan.requestFilter !== null) {
      const reply = await engine.gate(plan.requestFilter, "requestFilter", exchange.hooks);
      if (reply) return await this.#reply(exchange, reply);
    }
    if (plan.proxyUpstreamFilter !== null) {
      const reply = await engine.gate(
        plan.proxyUpstreamFilter,
        "proxyUpstreamFilter",
        exchange.hooks,
      );
      if (reply) return await this.#reply(exchange, reply);
      if (reply === false) {
        throw new ProxyError("denied", "Cannot go on: proxyUpstreamFilter refused", {
          source: "internal",
          status: 502,
        });
      }
    }
    if (downstream.failure !== null) throw downstream.failure;
    await this.#attempts(exchange);
  }

  /** Makes attempts until one succeeds or nobody wants another. */
  async #attempts(exchange: Exchange): Promise<void> {
    const { downstream } = exchange;
    const { retry } = exchange.route!;
    retry.request();
    let tried: Set<Backend> | null = null;
    let fresh = false;
    for (;;) {
      try {
        return await makeAttempt(exchange, this.#options, tried, fresh);
      } catch (caught) {
        const error = ProxyError.wrap(
          caught,
          "internal_error",
          "Cannot make an attempt",
          "internal",
        );
        const { upstream, peer, choice } = exchange;
        upstream?.abort(error);
        if (downstream.failure !== null) throw downstream.failure;
        if (error.source === "downstream" || peer === null) throw error;
        const dead = error.retry === "reused-only" && upstream !== null && upstream.reused;
        const replay = dead && !fresh && isIdempotent(exchange.upstreamRequest().method);
        if (!await this.#mayRetry(exchange, error, replay)) throw error;
        if (replay) exchange.replays++;
        this.#options.onError(exchange, error, await this.#summary(exchange), false);
        // A pooled connection that died says nothing about its peer; a failed peer does.
        if (dead) fresh = true;
        else if (choice?.backend) (tried ??= new Set()).add(choice.backend);
        exchange.response = null;
        if (dead) continue;
        const delay = retry.delay(exchange);
        if (delay > 0) await pause(this.#options.wheel, delay, exchange.signal);
        if (downstream.failure !== null) throw downstream.failure;
      }
    }
  }

  /**
   * Whether there will be another attempt: what hooks say, else what the policy of the route wants, as far as it is
   * safe.
   *
   * @param replay Whether a pooled connection has turned out to be dead, with a request that may be sent twice. One more
   * attempt is then made in any case, because the peer may have closed it before it saw the request.
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
    const request = exchange.downstream.head;
    const { head, body } = errorResponse(error, { request, requestId: exchange.id });
    await this.#send(exchange, head, body);
  }

  async #reply(exchange: Exchange, reply: Reply): Promise<void> {
    const fields = new Fields();
    for (const [name, value] of reply.headers) fields.append(name, value);
    await this.#send(exchange, new ResponseHead(reply.status, fields), reply.body ?? NOTHING);
  }

  async #send(exchange: Exchange, head: ResponseHead, body: Uint8Array): Promise<void> {
    const { downstream } = exchange;
    exchange.response = head;
    downstream.writeHead(
      head,
      head.status === 204 || head.status === 304
        ? { kind: "none" }
        : { kind: "length", length: body.length },
    );
    if (hasNoContent(downstream.head.method, head.status)) await downstream.endBody(null);
    else await downstream.writeBody(body, true);
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
    return `${head.method} ${head.target}, Host: ${head.authority || "-"}`;
  }

  /** Logs, keeps what the next request of the connection wants, and lets go. */
  async #finish(exchange: Exchange): Promise<void> {
    const { plan, downstream } = exchange;
    const { engine } = this.#options;
    exchange.finish();
    try {
      const logged = plan.logging === null
        ? undefined
        : engine.observe(plan.logging, "logging", exchange.hooks);
      this.#options.onFinished(exchange);
      if (plan.persistConnectionContext !== null && downstream.keepAlive) {
        const kept = await engine.first(
          plan.persistConnectionContext,
          "persistConnectionContext",
          exchange.hooks,
        );
        if (kept !== undefined) this.#kept.set(downstream.connection, kept as Cloneable);
      }
      // The client has its answer; what a hook still reads must not be overwritten by the next request.
      await logged;
    } catch (error) {
      reportError(error);
    } finally {
      exchange.release();
      this.#options.onReleased();
    }
  }
}

const NOTHING = new Uint8Array(0);

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
