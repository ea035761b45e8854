/**
 * One try to have a request answered by an upstream: peer, connection, request, response.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { Connector } from "../connector/connector.ts";
import type { ResponseHead } from "../http/message.ts";
import type { UpstreamSession } from "../http/session.ts";
import { choicePeer } from "./choice_peer.ts";
import { hookChoice, outcomeOf, routeChoice, settleChoice } from "./attempt_choice.ts";
import { AttemptClock } from "./attempt_clock.ts";
import { sendResponse, startUpload, type Upload } from "./duplex.ts";
import type { PhaseEngine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";
import { judge } from "./failure.ts";
import type { GrpcCall } from "./grpc_call.ts";
import { mayHedge, raceForHead } from "./hedge.ts";
import type { Link, Plan } from "./plan.ts";
import type { HedgeSettings } from "./route.ts";
import { applyRules } from "./rules.ts";
import { opensTunnel, runTunnel } from "./tunnel.ts";
import { prepareUpgrade, settleUpgrade } from "./upgrade.ts";
import type { Choice, Upstreams } from "./upstreams.ts";

/** What an attempt works with. */
export interface AttemptTools {
  readonly engine: PhaseEngine;
  readonly connector: Connector;
  readonly upstreams: Upstreams;
  readonly wheel: TimerWheel;
  /** Called when a response has opened a tunnel; `exchange.tunnel` tells of it from then on. */
  readonly onTunnel: (exchange: Exchange) => void;
  /** Attempts beyond the first, whatever asks for them. */
  readonly maxRetries: number;
}

/** The head that ends the wait for a response, now or later. */
type Awaited = ResponseHead | Promise<ResponseHead>;

/**
 * One attempt: `ask`, `answer` with the head that came, and `end`; `fail` between them when one of both has thrown.
 *
 * Each step calls the next one, and waits only where there is something to wait for: what most requests go through
 * costs no promise but that of the head.
 */
export class Attempt {
  readonly #exchange: Exchange;
  readonly #tools: AttemptTools;
  #upload: Upload | null = null;
  #clock: AttemptClock | null = null;

  constructor(exchange: Exchange, tools: AttemptTools) {
    this.#exchange = exchange;
    this.#tools = tools;
  }

  /**
   * Sends the request to whom it goes.
   *
   * @returns The first head of the response.
   * @throws {ProxyError} If it failed; `exchange.upstream` says whether there had been a connection.
   */
  ask(): Awaited {
    const exchange = this.#exchange;
    const { plan } = exchange;
    if (exchange.expired !== null) throw exchange.expired;
    exchange.beginAttempt(plan.upstreamRequestFilter !== null);
    return plan.upstreamPeer === null
      ? this.#goTo(routeChoice(exchange, this.#tools.upstreams))
      : this.#askWhere(plan.upstreamPeer);
  }

  /**
   * Sends the response to the client. When it is done, the client has it.
   *
   * @param head The first head that came.
   * @throws {ProxyError} If it failed.
   */
  answer(head: ResponseHead): void | Promise<void> {
    const exchange = this.#exchange;
    this.#note(head);
    if (head.informational) return this.#answerLater(head);
    this.#clock?.stop();
    exchange.upstreamStatus = head.status;
    if (statusCallsForRetry(exchange, this.#tools.maxRetries)) return this.#reconsider();
    return this.#deliver();
  }

  /** Says what it failed with, if it did; the rest of the upload is given up. */
  fail(caught: unknown): unknown {
    const exchange = this.#exchange;
    this.#upload?.stop();
    const error = this.#upload?.readError ?? caught;
    // An upstream that has opened a tunnel has answered, however the tunnel ends.
    settleChoice(exchange, exchange.tunnel === null ? outcomeOf(exchange, error) : "answered");
    return error;
  }

  /** Stops its clocks. */
  end(): void {
    this.#clock?.stop();
    this.#exchange.grpc?.stop();
  }

  async #askWhere(links: readonly Link[]): Promise<ResponseHead> {
    return await this.#goTo(await hookChoice(this.#exchange, this.#tools, links));
  }

  #goTo(choice: Choice): Awaited {
    const exchange = this.#exchange;
    const { connector, wheel } = this.#tools;
    exchange.choice = choice;
    const peer = exchange.peer = choicePeer(exchange, choice);
    this.#clock = attemptClock(exchange, wheel);
    if (exchange.fresh) return this.#connect();
    const { method } = exchange.upstreamRequest();
    const upstream = connector.take(peer, method, exchange.downstream.upgrade);
    return upstream === null ? this.#connect() : this.#use(upstream);
  }

  async #connect(): Promise<ResponseHead> {
    const signal = this.#clock?.signal ?? this.#exchange.signal;
    return await this.#use(await connect(this.#exchange, this.#tools, signal));
  }

  #use(upstream: UpstreamSession): Awaited {
    const exchange = this.#exchange;
    const { downstream, plan } = exchange;
    exchange.upstream = upstream;
    this.#clock?.watch(upstream);
    if (downstream.failure !== null) throw downstream.failure;
    if (exchange.expired !== null) throw exchange.expired;
    return plan.connectedToUpstream === null && plan.upstreamRequestFilter === null
      ? this.#send(upstream)
      : this.#filterRequest(upstream, plan);
  }

  #filterRequest(upstream: UpstreamSession, plan: Plan): Awaited {
    const { engine } = this.#tools;
    const { hooks } = this.#exchange;
    const { connectedToUpstream, upstreamRequestFilter } = plan;
    const told = connectedToUpstream === null
      ? undefined
      : engine.chain(connectedToUpstream, "connectedToUpstream", hooks);
    if (upstreamRequestFilter === null) {
      return told === undefined ? this.#send(upstream) : told.then(() => this.#send(upstream));
    }
    const filter = () => engine.chain(upstreamRequestFilter, "upstreamRequestFilter", hooks);
    const filtered = told === undefined ? filter() : told.then(filter);
    return filtered === undefined
      ? this.#send(upstream)
      : filtered.then(() => this.#send(upstream));
  }

  #send(upstream: UpstreamSession): Awaited {
    const started = startRequest(this.#exchange, upstream, this.#tools);
    if (started instanceof Promise) return this.#sendLater(upstream, started);
    this.#upload = started;
    return this.#read(upstream);
  }

  async #sendLater(upstream: UpstreamSession, started: Promise<Upload>): Promise<ResponseHead> {
    this.#upload = await started;
    return await this.#read(upstream);
  }

  #read(upstream: UpstreamSession): Awaited {
    const exchange = this.#exchange;
    const { hedge } = exchange.route!;
    return hedge !== null && mayHedge(exchange)
      ? raceOthers(exchange, this.#tools, upstream, hedge, this.#clock)
      : upstream.readHead();
  }

  #note(head: ResponseHead): void {
    const exchange = this.#exchange;
    if (exchange.firstByteAt === 0) exchange.firstByteAt = systemClock.now();
    exchange.response = head;
  }

  /** Passes informational heads on until the final one has come. */
  async #answerLater(head: ResponseHead): Promise<void> {
    const exchange = this.#exchange;
    while (head.informational) {
      await passInformational(exchange, head, this.#tools.engine);
      head = await exchange.upstream!.readHead();
      this.#note(head);
    }
    await this.answer(head);
  }

  async #reconsider(): Promise<void> {
    await giveUpStatus(this.#exchange, this.#tools.engine);
    await this.#deliver();
  }

  #deliver(): void | Promise<void> {
    const exchange = this.#exchange;
    const { upstream, downstream, response } = exchange;
    if (downstream.upgrade !== "" || response!.status === 101) settleUpgrade(exchange, upstream!);
    const filtered = filterHead(exchange, this.#tools.engine);
    return filtered === undefined
      ? this.#pass(upstream!)
      : filtered.then(() => this.#pass(upstream!));
  }

  #pass(upstream: UpstreamSession): void | Promise<void> {
    const exchange = this.#exchange;
    if (opensTunnel(exchange.upstreamRequest().method, exchange.response!.status)) {
      return this.#tunnel(upstream);
    }
    const sent = sendResponse(exchange, upstream, this.#tools.engine);
    if (sent !== undefined || this.#upload !== null) return this.#passLater(upstream, sent);
    this.#over(upstream);
  }

  async #passLater(upstream: UpstreamSession, sent: void | Promise<void>): Promise<void> {
    if (sent !== undefined) await sent;
    if (this.#upload !== null) await settleUpload(this.#exchange, this.#upload);
    this.#over(upstream);
  }

  async #tunnel(upstream: UpstreamSession): Promise<void> {
    await runTunnel(this.#exchange, upstream, this.#upload, this.#tools);
    settleChoice(this.#exchange, "answered");
  }

  #over(upstream: UpstreamSession): void {
    upstream.release();
    settleChoice(this.#exchange, "answered");
  }
}

/** Sends the request: the head at once, the content as it comes. */
function startRequest(
  exchange: Exchange,
  upstream: UpstreamSession,
  { engine, wheel }: AttemptTools,
): Upload | null | Promise<Upload> {
  const { mirrors, retry } = exchange.route!;
  const request = exchange.upstreamRequest();
  // HTTP/1.0 clients may leave it out; HTTP/1.1 upstreams must have it.
  if (request.version === 10 && !request.fields.has("host")) {
    request.fields.appendTrusted("Host", exchange.peer!.label);
  }
  // A mirror would get content that its head no longer fits.
  if (exchange.attempt === 1 && exchange.modules === null) {
    for (const mirror of mirrors) mirror.copy(exchange);
  }
  if (exchange.grpc !== null) beginCall(exchange, exchange.grpc, upstream, wheel);
  if (exchange.downstream.upgrade !== "") prepareUpgrade(exchange, upstream);
  exchange.content.rewind(retry.settings.bufferBytes);
  return startUpload(exchange, upstream, engine);
}

/** A gRPC call has a deadline to be passed on, and its messages may be far apart. */
function beginCall(
  exchange: Exchange,
  call: GrpcCall,
  upstream: UpstreamSession,
  wheel: TimerWheel,
): void {
  const { downstream, peer, attempt, elapsed } = exchange;
  call.passDeadline(exchange.upstreamRequest().fields, attempt, elapsed);
  // What is no HTTP/2 on both sides carries no stream that pauses, whatever its content type says.
  const sides = call.kind === "grpc" && upstream.version >= 20
    ? [downstream, upstream]
    : [upstream];
  const { tunnelIdleTimeout } = peer!.options;
  call.watch(sides, wheel, tunnelIdleTimeout, (error) => exchange.expire(error));
}

/** Asks others, too, if the answer is late. Returns the head of whoever answered first. */
async function raceOthers(
  exchange: Exchange,
  tools: AttemptTools,
  upstream: UpstreamSession,
  settings: HedgeSettings,
  clock: AttemptClock | null,
): Promise<ResponseHead> {
  const first = { choice: exchange.choice!, upstream, askedAt: exchange.attemptAt };
  const signal = clock?.signal ?? exchange.signal;
  const winner = await raceForHead(exchange, settings, { ...tools, signal }, first);
  exchange.choice = winner.choice;
  exchange.upstream = winner.upstream;
  exchange.peer = choicePeer(exchange, winner.choice);
  exchange.firstByteAt = systemClock.now();
  clock?.watch(winner.upstream);
  return exchange.response!;
}

async function connect(
  exchange: Exchange,
  { connector }: AttemptTools,
  signal: AbortSignal,
): Promise<UpstreamSession> {
  const asked = systemClock.now();
  const { method } = exchange.upstreamRequest();
  const choice = exchange.choice!;
  choice.startWaiting();
  try {
    const { downstream, fresh, peer } = exchange;
    return await connector.connect(peer!, method, signal, fresh, downstream.upgrade);
  } finally {
    choice.stopWaiting();
    exchange.connectTime = systemClock.now() - asked;
  }
}

/** The time that is left for the head, if the route limits it; `null` if only the peer's timeouts do. */
function attemptClock(exchange: Exchange, wheel: TimerWheel): AttemptClock | null {
  const { retry, requestTimeout } = exchange.route!;
  const { perTryTimeout } = retry.settings;
  if (perTryTimeout === null && requestTimeout === null) return null;
  const left = requestTimeout === null ? Infinity : Math.max(0, requestTimeout - exchange.elapsed);
  return perTryTimeout !== null && perTryTimeout < left
    ? new AttemptClock(wheel, perTryTimeout, "per_try_timeout", exchange.signal)
    : new AttemptClock(wheel, left, "timeouts.request", exchange.signal);
}

/** Whether the policy wants another try for the status that came, and one may be made. */
function statusCallsForRetry(exchange: Exchange, maxRetries: number): boolean {
  const { retry, requestTimeout } = exchange.route!;
  // Without another attempt, the answer that is there is worth more than an error.
  if (exchange.attempt > maxRetries) return false;
  if (requestTimeout !== null && exchange.elapsed >= requestTimeout) return false;
  const { grpc, response } = exchange;
  return retry.allowsStatus(exchange, response!.status) ||
    (grpc !== null && retry.allowsGrpc(exchange, grpc.codeOf(response!)));
}

/**
 * Gives up an answer for another try, unless a hook wants to keep it: it is asked while the answer is still there.
 *
 * @throws {ProxyError} `upstream_status`, to be tried again.
 */
async function giveUpStatus(exchange: Exchange, engine: PhaseEngine): Promise<void> {
  const { response, grpc } = exchange;
  const code = grpc === null ? -1 : grpc.codeOf(response!);
  const error = new ProxyError(
    "upstream_status",
    `Response: status ${response!.status}${
      code < 0 ? "" : `, of gRPC ${code}`
    }, which is tried again`,
    { source: "upstream", retry: true },
  );
  await judge(exchange, engine, "errorWhileProxy", error);
  // While hooks were asked, the upload went on, perhaps beyond what is kept of it.
  if (error.retry === true && exchange.content.replayable) throw error;
}

/** Lets the upload end, if all of it has come from the client; else gives it up. */
async function settleUpload(exchange: Exchange, upload: Upload): Promise<void> {
  if (exchange.content.done) await upload.done;
  else upload.stop();
}

/** Passes a 1xx head on. */
async function passInformational(
  exchange: Exchange,
  head: ResponseHead,
  engine: PhaseEngine,
): Promise<void> {
  const { plan, downstream } = exchange;
  if (plan.upstreamResponseFilter !== null) {
    await engine.chain(plan.upstreamResponseFilter, "upstreamResponseFilter", exchange.hooks);
  }
  // A client that did not ask for it may take a 100 for the answer.
  if (head.status !== 100 || downstream.expectsContinue) downstream.writeInformational(head);
}

/** Lets hooks and rules change the final head. */
function filterHead(exchange: Exchange, engine: PhaseEngine): void | Promise<void> {
  const { upstreamResponseFilter, responseFilter } = exchange.plan;
  const filter = () => {
    changeHead(exchange);
    if (responseFilter === null) return;
    return engine.chain(responseFilter, "responseFilter", exchange.hooks);
  };
  if (upstreamResponseFilter === null) return filter();
  const filtered = engine.chain(upstreamResponseFilter, "upstreamResponseFilter", exchange.hooks);
  return filtered === undefined ? filter() : filtered.then(filter);
}

/** What we add to a response head, and what rules want. */
function changeHead(exchange: Exchange): void {
  const { downstream, choice } = exchange;
  const { rules } = exchange.route!;
  const { fields } = exchange.response!;
  if (choice !== null && choice.group !== null) {
    const cookie = choice.group.stickyCookie(downstream.head, choice.backend!);
    if (cookie !== null) fields.append("Set-Cookie", cookie);
  }
  if (rules.length > 0) applyRules(rules, "response", downstream.head, () => fields);
}
