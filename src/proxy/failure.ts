/**
 * What hooks are told of a failed attempt, and what they make of it.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import type { Failure } from "../plugin/session.ts";
import type { PhaseEngine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";

/** Lets the hooks of a phase decide whether there is another attempt: `error.retry` is what they begin with. */
export async function judge(
  exchange: Exchange,
  engine: PhaseEngine,
  phase: "failToConnect" | "errorWhileProxy",
  error: ProxyError,
): Promise<void> {
  const links = exchange.plan[phase];
  if (links === null) return;
  const failure: Failure = {
    type: error.type,
    source: error.source,
    message: error.message,
    status: error.status,
    retry: error.retry === true,
  };
  await engine.chain(links, phase, exchange.hooks, failure);
  error.retry = failure.retry;
}
