/**
 * One try to have a request answered by an upstream: peer, connection, request, response.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { Connector } from "../connector/connector.ts";
import type { Peer } from "../connector/peer.ts";
import type { UpstreamSession } from "../http/session.ts";
import type { PeerSpec } from "../plugin/session.ts";
import { sendResponse, startUpload, type Upload } from "./duplex.ts";
import type { PhaseEngine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";
import { applyRules } from "./rules.ts";
import { runTunnel } from "./tunnel.ts";
import { pickFrom, type UpstreamGroups } from "./upstream_groups.ts";

/** What an attempt works with. */
export interface AttemptTools {
  readonly engine: PhaseEngine;
  readonly connector: Connector;
  readonly groups: UpstreamGroups;
}

/**
 * Makes one attempt. When it returns, the response has gone to the client.
 *
 * @param tried Peers that have failed this request.
 * @param fresh Whether to leave the pool alone: a pooled connection has just turned out to be dead.
 * @throws {ProxyError} If it failed; `exchange.upstream` says whether there had been a connection.
 */
export async function makeAttempt(
  exchange: Exchange,
  tools: AttemptTools,
  tried: ReadonlySet<Peer> | null,
  fresh: boolean,
): Promise<void> {
  const { plan } = exchange;
  const { engine, connector } = tools;
  exchange.beginAttempt(plan.upstreamRequestFilter !== null);
  const peer = plan.upstreamPeer === null
    ? routePeer(exchange, tools.groups, tried)
    : await choosePeer(exchange, tools, tried);
  exchange.peer = peer;
  const { method } = exchange.upstreamRequest();
  let upstream = fresh ? null : connector.take(peer, method);
  if (upstream === null) {
    const asked = performance.now();
    upstream = await connector.connect(peer, method, exchange.signal, fresh);
    exchange.connectTime = performance.now() - asked;
  }
  exchange.upstream = upstream;
  if (exchange.downstream.failure !== null) throw exchange.downstream.failure;
  if (plan.connectedToUpstream !== null) {
    await engine.chain(plan.connectedToUpstream, "connectedToUpstream", exchange.hooks);
  }
  if (plan.upstreamRequestFilter !== null) {
    await engine.chain(plan.upstreamRequestFilter, "upstreamRequestFilter", exchange.hooks);
  }
  const request = exchange.upstreamRequest();
  // HTTP/1.0 clients may leave it out; HTTP/1.1 upstreams must have it.
  if (request.version === 10 && !request.fields.has("host")) {
    request.fields.appendTrusted("Host", peer.label);
  }
  exchange.content.rewind(exchange.route!.retryBuffer);
  const started = startUpload(exchange, upstream, engine);
  const upload = started instanceof Promise ? await started : started;
  try {
    await readHead(exchange, upstream, engine);
    if (exchange.response!.status === 101) {
      await runTunnel(exchange, upstream, upload);
      return;
    }
    await sendResponse(exchange, upstream, engine);
  } catch (error) {
    upload?.stop();
    throw upload?.readError ?? error;
  }
  if (upload !== null) await settle(exchange, upload);
  upstream.release();
}

/** Lets the upload end, if all of it has come from the client; else gives it up. */
async function settle(exchange: Exchange, upload: Upload): Promise<void> {
  if (exchange.content.done) await upload.done;
  else upload.stop();
}

function routePeer(
  exchange: Exchange,
  groups: UpstreamGroups,
  tried: ReadonlySet<Peer> | null,
): Peer {
  const name = exchange.route!.upstream;
  const group = name === null ? undefined : groups.get(name);
  if (group !== undefined) return pickFrom(group, tried);
  throw new ProxyError(
    "no_upstream",
    `Cannot choose a peer: route "${exchange.routeId}" has no upstream, and no plugin answered or chose one`,
    { source: "internal" },
  );
}

async function choosePeer(
  exchange: Exchange,
  tools: AttemptTools,
  tried: ReadonlySet<Peer> | null,
): Promise<Peer> {
  const choice = await tools.engine.first(
    exchange.plan.upstreamPeer!,
    "upstreamPeer",
    exchange.hooks,
  );
  return choice === undefined
    ? routePeer(exchange, tools.groups, tried)
    : tools.groups.resolve(choice as string | PeerSpec, tried);
}

/** Reads heads up to the final one, passing 1xx on, and lets hooks and rules change it. */
async function readHead(
  exchange: Exchange,
  upstream: UpstreamSession,
  engine: PhaseEngine,
): Promise<void> {
  const { plan, downstream } = exchange;
  for (;;) {
    const read = upstream.readHead();
    const head = read instanceof Promise ? await read : read;
    if (exchange.firstByteAt === 0) exchange.firstByteAt = performance.now();
    exchange.response = head;
    exchange.upstreamStatus = head.status;
    if (head.status === 101 && downstream.upgrade === "") {
      throw new ProxyError(
        "upgrade_failed",
        "Cannot use the response: 101 to a request that asked for no upgrade",
        { source: "upstream" },
      );
    }
    if (plan.upstreamResponseFilter !== null) {
      await engine.chain(plan.upstreamResponseFilter, "upstreamResponseFilter", exchange.hooks);
    }
    if (!head.informational) break;
    // A client that did not ask for it may take a 100 for the answer.
    if (head.status !== 100 || downstream.expectsContinue) downstream.writeInformational(head);
  }
  applyRules(
    exchange.route!.rules,
    "response",
    downstream.head,
    () => exchange.response!.fields,
  );
  if (plan.responseFilter !== null) {
    await engine.chain(plan.responseFilter, "responseFilter", exchange.hooks);
  }
}
