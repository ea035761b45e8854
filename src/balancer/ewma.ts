/**
 * How long a backend takes to answer, remembered so that bad news counts at once and good news gradually.
 *
 * @module
 */
import type { BackendLoad, Outcome } from "./backend.ts";

/** Milliseconds after which a measurement counts for a third (1/e). */
export const DECAY_MS = 10_000;
/**
 * Milliseconds that a failure counts as at least. A backend that refuses everything is the quickest of all, and would
 * draw all requests to itself.
 */
export const FAILURE_MS = 1_000;

/** The average as of `now`. It fades while nothing is measured, so that a slow backend is asked again some day. */
export function decayedEwma(load: BackendLoad, now: number): number {
  const elapsed = now - load.ewmaAt;
  return elapsed <= 0 ? load.ewma : load.ewma * Math.exp(-elapsed / DECAY_MS);
}

/** Takes the end of an attempt into the average. */
export function observeOutcome(load: BackendLoad, outcome: Outcome, now: number): void {
  const latency = outcome.latency > 0 ? outcome.latency : 0;
  const average = decayedEwma(load, now);
  if (outcome.kind === "cancelled") {
    // It would have taken at least that long; a client that left sooner says nothing.
    if (latency > average) set(load, latency, now);
    return;
  }
  const cost = isRefusal(outcome) ? Math.max(latency, FAILURE_MS, average) : latency;
  if (cost >= average) {
    // An answer within the clock's resolution must not look like no answer at all.
    set(load, Math.max(cost, Number.EPSILON), now);
    return;
  }
  const kept = Math.exp(-Math.max(0, now - load.ewmaAt) / DECAY_MS);
  set(load, Math.max(load.ewma * kept + cost * (1 - kept), Number.EPSILON), now);
}

/** Failures, and answers by which a backend or a proxy before it says that it cannot serve. */
function isRefusal({ kind, status }: Outcome): boolean {
  return kind !== "answered" || status === 502 || status === 503 || status === 504;
}

function set(load: BackendLoad, ewma: number, now: number): void {
  load.ewma = ewma;
  load.ewmaAt = now;
}
