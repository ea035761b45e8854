/**
 * What the traffic of one service worker has shown of its upstreams: who is ejected, and which breakers are open. A
 * worker that takes the place of another begins with it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Ejection } from "../balancer/health/passive.ts";
import type { UpstreamConfig } from "../config/types_upstreams.ts";
import type { BreakerHold } from "../connector/breaker.ts";

/** A group of which traffic has shown something. Plain data; times count from when it was said. */
export interface GroupTrafficHealth {
  /** Name of the upstream group. */
  readonly group: string;
  /** {@linkcode groupMark} of what the group was made from. */
  readonly mark: string;
  readonly ejections: readonly Ejection[];
  /** `null`: there is none, or it is closed. */
  readonly breaker: BreakerHold | null;
}

/** What was said at a moment, and when that was. Plain data. */
export interface TrafficHealth {
  readonly groups: readonly GroupTrafficHealth[];
  /** Milliseconds since it was said. */
  readonly age: number;
}

/** Most ejections of a group that are handed on: those that end last. The others begin anew. */
export const MOST_EJECTIONS = 1_024;

const marks = new WeakMap<UpstreamConfig, string>();

/**
 * What tells a group from one of the same name that is made from something else, in this process or in the one that
 * takes its place. Endpoints may change at any time, and are left out.
 */
export function groupMark(upstream: UpstreamConfig): string {
  let mark = marks.get(upstream);
  if (mark === undefined) {
    const text = JSON.stringify({ ...upstream, endpoints: [] });
    mark = createHash("sha256").update(text).digest("base64url");
    marks.set(upstream, mark);
  }
  return mark;
}
