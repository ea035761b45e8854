/**
 * Whom an attempt goes to, and what is said of how it went.
 *
 * @module
 */
import type { Outcome } from "../balancer/backend.ts";
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import type { PeerChoice, PeerSpec } from "../plugin/session.ts";
import type { PhaseEngine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";
import type { Link } from "./plan.ts";
import type { Choice, Upstreams } from "./upstreams.ts";

/**
 * The choice of the route.
 *
 * @throws {ProxyError} `no_upstream` or `circuit_open`.
 */
export function routeChoice(exchange: Exchange, upstreams: Upstreams): Choice {
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

/** The choice of the hooks, or else of the route. */
export async function hookChoice(
  exchange: Exchange,
  tools: { readonly engine: PhaseEngine; readonly upstreams: Upstreams },
  links: readonly Link[],
): Promise<Choice> {
  const choice = await tools.engine.first(links, "upstreamPeer", exchange.hooks);
  return choice === undefined
    ? routeChoice(exchange, tools.upstreams)
    : tools.upstreams.resolve(choice as string | PeerSpec | PeerChoice, exchange, exchange.tried);
}

/** Says how the attempt went to whoever counts that. */
export function settleChoice(exchange: Exchange, kind: Outcome["kind"]): void {
  const { firstByteAt, attemptAt } = exchange;
  exchange.choice?.settle({
    kind,
    status: firstByteAt === 0 ? 0 : exchange.upstreamStatus,
    latency: (firstByteAt === 0 ? systemClock.now() : firstByteAt) - attemptAt,
  });
}

/** What an error means for the upstream. */
export function outcomeOf(exchange: Exchange, caught: unknown): Outcome["kind"] {
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
