/**
 * Members, groups and a health view made by hand.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Backend, Endpoint, Outcome } from "../../src/balancer/backend.ts";
import { UpstreamGroup, type UpstreamGroupOptions } from "../../src/balancer/group.ts";
import type { SelectionInput } from "../../src/balancer/group.ts";
import type { HealthView } from "../../src/balancer/health_view.ts";
import type { Candidates, SelectionOptions } from "../../src/balancer/selection/selection.ts";
import { ManualClock } from "../../src/base/clock.ts";
import { createPeer } from "../../src/connector/peer.ts";
import { Fields } from "../../src/http/fields.ts";
import { RequestHead } from "../../src/http/message.ts";
import { formatAddress, parseAddress } from "../../src/transport/address.ts";

/** An endpoint from its address as text. */
export function endpoint(text: string, weight = 1, more: Partial<Endpoint> = {}): Endpoint {
  const address = parseAddress(text);
  assert.ok(typeof address !== "string", String(address));
  return { address, weight, priority: 0, labels: {}, ...more };
}

/** A backend of its own, with counts of its own. */
export function backend(text: string, weight = 1): Backend {
  const from = endpoint(text, weight);
  return {
    id: formatAddress(from.address),
    endpoint: from,
    peer: createPeer({ address: from.address }),
    load: { inFlight: 0, ewma: 0, ewmaAt: 0, requests: 0, failures: 0 },
  };
}

/** Backends `10.0.0.1:80` and so on with these weights, all with their full share. */
export function candidates(weights: readonly number[]): Candidates {
  return from(weights.map((weight, i) => backend(`10.0.0.${i + 1}:80`, weight)));
}

/** Candidates of backends, all with their full share. */
export function from(backends: readonly Backend[]): Candidates {
  const weights = Float64Array.from(backends, ({ endpoint }) => endpoint.weight);
  return { backends, weights, shares: weights.slice() };
}

/** Numbers in `[0, 1)` that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Options of a selection with a clock that stands still. */
export function selectionOptions(seed = 1): SelectionOptions & { readonly clock: ManualClock } {
  return { clock: new ManualClock(), random: seeded(seed) };
}

/** How often each index of `backends` is picked. */
export function tally(
  times: number,
  backends: readonly Backend[],
  pick: (i: number) => Backend | null,
): number[] {
  const index = new Map(backends.map((one, i) => [one, i]));
  const counts = backends.map(() => 0);
  for (let i = 0; i < times; i++) {
    const picked = pick(i);
    assert.notEqual(picked, null);
    counts[index.get(picked!)!]!++;
  }
  return counts;
}

/** Asserts that counts of independent draws lie within six standard deviations of what the weights promise. */
export function assertDrawn(counts: readonly number[], weights: readonly number[]): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const weight = weights.reduce((sum, one) => sum + one, 0);
  counts.forEach((count, i) => {
    const share = weights[i]! / weight;
    const deviation = Math.sqrt(total * share * (1 - share));
    assert.ok(
      Math.abs(count - total * share) <= 6 * deviation,
      `member ${i}: ${count} of ${total}, expected ${total * share} ± ${6 * deviation}`,
    );
  });
}

/** Asserts that counts lie within `part` of what the weights promise. */
export function assertShares(
  counts: readonly number[],
  weights: readonly number[],
  part: number,
): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const weight = weights.reduce((sum, one) => sum + one, 0);
  counts.forEach((count, i) => {
    const due = total * weights[i]! / weight;
    assert.ok(
      Math.abs(count - due) <= due * part,
      `member ${i}: ${count} of ${total}, expected ${due} ± ${part * 100} %`,
    );
  });
}

/** A health view that says what it is told. */
export class FakeHealth implements HealthView {
  readonly down: Set<string> = new Set();
  readonly factors: Map<string, number> = new Map();
  readonly recorded: [string, Outcome][] = [];
  asked = 0;
  onChange: (() => void) | null = null;

  usable(backend: Backend): boolean {
    this.asked++;
    return !this.down.has(backend.id);
  }

  weightFactor(backend: Backend): number {
    return this.factors.get(backend.id) ?? 1;
  }

  record(backend: Backend, outcome: Outcome): void {
    this.recorded.push([backend.id, outcome]);
  }

  /** Exactly these are down now. */
  set(...ids: string[]): void {
    this.down.clear();
    for (const id of ids) this.down.add(id);
    this.onChange?.();
  }

  factor(id: string, factor: number): void {
    this.factors.set(id, factor);
    this.onChange?.();
  }
}

/** A group for a test, and what it stands on. */
export interface TestGroup {
  readonly group: UpstreamGroup;
  readonly health: FakeHealth;
  readonly clock: ManualClock;
}

export function makeGroup(
  endpoints: readonly Endpoint[],
  more: Partial<UpstreamGroupOptions> = {},
): TestGroup {
  const health = new FakeHealth();
  const clock = new ManualClock();
  const group = new UpstreamGroup({
    name: "pool",
    policy: "round_robin",
    hashKey: null,
    endpoints,
    makePeer: ({ address }) => createPeer({ group: "pool", address }),
    health,
    clock,
    panicThreshold: 0.5,
    random: seeded(7),
    ...more,
  });
  return { group, health, clock };
}

/** A request. */
export function head(target = "/", fields: readonly (readonly [string, string])[] = []) {
  return new RequestHead({ method: "GET", version: 11, target, fields: Fields.from(fields) });
}

/** What a choice is made by. */
export function input(more: Partial<SelectionInput> = {}): SelectionInput {
  return { head: null, clientAddress: "192.0.2.1", hashValue: null, subset: null, ...more };
}

/** Who serves `times` requests, each once and in the order of the ids. */
export function served(group: UpstreamGroup, times = 100, by: SelectionInput = input()): string[] {
  const ids = new Set<string>();
  for (let i = 0; i < times; i++) {
    const picked = group.select(by, null);
    if (picked !== null) ids.add(picked.id);
  }
  return [...ids].sort();
}

export const ANSWERED: Outcome = { kind: "answered", status: 200, latency: 5 };
