/**
 * One try to have a request answered by an upstream: peer, connection, request, response.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { Outcome } from "../balancer/backend.ts";
import type { Connector } from "../connector/connector.ts";
import type { ResponseHead } from "../http/message.ts";
import type { UpstreamSession } from "../http/session.ts";
import type { PeerChoice, PeerSpec } from "../plugin/session.ts";
import { choicePeer } from "./choice_peer.ts";
import { AttemptClock } from "./attempt_clock.ts";
import { sendResponse, startUpload, type Upload } from "./duplex.ts";
import type { PhaseEngine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";
import { judge } from "./failure.ts";
import type { GrpcCall } from "./grpc_call.ts";
import { mayHedge, raceForHead } from "./hedge.ts";
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

/**
 * Makes one attempt. When it returns, the response has gone to the client.
 *
 * @throws {ProxyError} If it failed; `exchange.upstream` says whether there had been a connection.
 */
export async function makeAttempt(exchange: Exchange, tools: AttemptTools): Promise<void> {
  const { plan, downstream } = exchange;
  const { engine, connector } = tools;
  const route = exchange.route!;
  if (exchange.expired !== null) throw exchange.expired;
  exchange.beginAttempt(plan.upstreamRequestFilter !== null);
  const choice = plan.upstreamPeer === null
    ? routeChoice(exchange, tools.upstreams)
    : await hookChoice(exchange, tools);
  exchange.choice = choice;
  const peer = exchange.peer = choicePeer(exchange, choice);
  const clock = attemptClock(exchange, tools.wheel);
  let upload: Upload | null = null;
  try {
    const { method } = exchange.upstreamRequest();
    let upstream = exchange.fresh ? null : connector.take(peer, method, downstream.upgrade);
    upstream ??= await connect(exchange, tools, method, clock?.signal ?? exchange.signal);
    exchange.upstream = upstream;
    clock?.watch(upstream);
    if (downstream.failure !== null) throw downstream.failure;
    if (exchange.expired !== null) throw exchange.expired;
    if (plan.connectedToUpstream !== null) {
      await engine.chain(plan.connectedToUpstream, "connectedToUpstream", exchange.hooks);
    }
    if (plan.upstreamRequestFilter !== null) {
      await engine.chain(plan.upstreamRequestFilter, "upstreamRequestFilter", exchange.hooks);
    }
    const started = startRequest(exchange, upstream, tools);
    upload = started instanceof Promise ? await started : started;
    if (route.hedge !== null && mayHedge(exchange)) {
      upstream = await hedge(exchange, tools, upstream, route.hedge, clock);
    } else {
      for (;;) {
        const read = upstream.readHead();
        const head = read instanceof Promise ? await read : read;
        if (exchange.firstByteAt === 0) exchange.firstByteAt = systemClock.now();
        exchange.response = head;
        if (!head.informational) break;
        await passInformational(exchange, head, engine);
      }
    }
    clock?.stop();
    exchange.upstreamStatus = exchange.response!.status;
    if (statusCallsForRetry(exchange, tools.maxRetries)) await giveUpStatus(exchange, engine);
    if (downstream.upgrade !== "" || exchange.response!.status === 101) {
      settleUpgrade(exchange, upstream);
    }
    const filtered = filterHead(exchange, engine);
    if (filtered !== undefined) await filtered;
    if (opensTunnel(exchange.upstreamRequest().method, exchange.response!.status)) {
      await runTunnel(exchange, upstream, upload, tools);
    } else {
      const sent = sendResponse(exchange, upstream, engine);
      if (sent !== undefined) await sent;
      if (upload !== null) await settleUpload(exchange, upload);
      upstream.release();
    }
    settleChoice(exchange, "answered");
  } catch (caught) {
    upload?.stop();
    const error = upload?.readError ?? caught;
    // An upstream that has opened a tunnel has answered, however the tunnel ends.
    settleChoice(exchange, exchange.tunnel === null ? outcomeOf(exchange, error) : "answered");
    throw error;
  } finally {
    clock?.stop();
    exchange.grpc?.stop();
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

/** Asks others, too, if the answer is late. Returns whoever answered first. */
async function hedge(
  exchange: Exchange,
  tools: AttemptTools,
  upstream: UpstreamSession,
  settings: HedgeSettings,
  clock: AttemptClock | null,
): Promise<UpstreamSession> {
  const first = { choice: exchange.choice!, upstream, askedAt: exchange.attemptAt };
  const signal = clock?.signal ?? exchange.signal;
  const winner = await raceForHead(exchange, settings, { ...tools, signal }, first);
  exchange.choice = winner.choice;
  exchange.upstream = winner.upstream;
  exchange.peer = choicePeer(exchange, winner.choice);
  exchange.firstByteAt = systemClock.now();
  clock?.watch(winner.upstream);
  return winner.upstream;
}

async function connect(
  exchange: Exchange,
  { connector }: AttemptTools,
  method: string,
  signal: AbortSignal,
): Promise<UpstreamSession> {
  const asked = systemClock.now();
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

function settleChoice(exchange: Exchange, kind: Outcome["kind"]): void {
  const { firstByteAt, attemptAt } = exchange;
  exchange.choice?.settle({
    kind,
    status: firstByteAt === 0 ? 0 : exchange.upstreamStatus,
    latency: (firstByteAt === 0 ? systemClock.now() : firstByteAt) - attemptAt,
  });
}

function outcomeOf(exchange: Exchange, caught: unknown): Outcome["kind"] {
  const error = caught instanceof ProxyError ? caught : null;
  if (exchange.downstream.failure !== null || error?.source === "downstream") return "cancelled";
  if (error?.type === "upstream_status") return "answered";
  // A hook that fails says nothing about the upstream.
  if (error === null || error.source === "internal") return "cancelled";
  // A limit of our own, which says as little.
  if (error.type === "connection_limit") return "cancelled";
  // An upstream that closes a connection in good order, or wants the other version, works.
  if (error.unprocessed && error.type !== "stream_reset") return "cancelled";
  return exchange.upstream === null ? "connect_failed" : "failed";
}

/** Lets the upload end, if all of it has come from the client; else gives it up. */
async function settleUpload(exchange: Exchange, upload: Upload): Promise<void> {
  if (exchange.content.done) await upload.done;
  else upload.stop();
}

function routeChoice(exchange: Exchange, upstreams: Upstreams): Choice {
  const { upstream, split } = exchange.route!;
  const name = split === null
    ? upstream
    // Once drawn it stays: another attempt goes to another backend, not to another version of the service.
    : exchange.splitGroup ??= split.choose(exchange.downstream.head, exchange.clientAddress);
  if (name !== null) return upstreams.choose(name, exchange, exchange.tried);
  throw new ProxyError(
    "no_upstream",
    split === null
      ? `Cannot choose a peer: route "${exchange.routeId}" has no upstream, and no plugin answered or chose one`
      : `Cannot choose a peer: every part of the split of route "${exchange.routeId}" has weight 0`,
    { source: "internal" },
  );
}

async function hookChoice(exchange: Exchange, tools: AttemptTools): Promise<Choice> {
  const choice = await tools.engine.first(
    exchange.plan.upstreamPeer!,
    "upstreamPeer",
    exchange.hooks,
  );
  return choice === undefined
    ? routeChoice(exchange, tools.upstreams)
    : tools.upstreams.resolve(choice as string | PeerSpec | PeerChoice, exchange, exchange.tried);
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
  const { plan } = exchange;
  if (plan.upstreamResponseFilter !== null || plan.responseFilter !== null) {
    return askAboutHead(exchange, engine);
  }
  changeHead(exchange);
}

async function askAboutHead(exchange: Exchange, engine: PhaseEngine): Promise<void> {
  const { upstreamResponseFilter, responseFilter } = exchange.plan;
  if (upstreamResponseFilter !== null) {
    await engine.chain(upstreamResponseFilter, "upstreamResponseFilter", exchange.hooks);
  }
  changeHead(exchange);
  if (responseFilter !== null) {
    await engine.chain(responseFilter, "responseFilter", exchange.hooks);
  }
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
