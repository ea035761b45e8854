/**
 * From `load_balancing` to {@linkcode BalancingConfig}.
 *
 * @module
 */
import type { HashKeySource } from "../balancer/hash_key.ts";
import type { UpstreamData } from "./schema.ts";
import { type HashOn, POLICIES } from "./schema_balancing.ts";
import type { BalancingConfig, StickyConfig } from "./types_upstreams.ts";

type BalancingData = UpstreamData["load_balancing"];

const SAME_SITE = { strict: "Strict", lax: "Lax", none: "None" } as const;

/** Resolves the aliases of policies. */
export function normalizeBalancing(data: BalancingData): BalancingConfig {
  const { policy, hashes } = POLICIES[data.policy];
  return {
    policy,
    hashKey: policy === "hash" || policy === "ketama" ? toHashKey(data.hash ?? {}, hashes) : null,
    sticky: data.sticky === undefined ? null : toSticky(data.sticky),
    subset: data.subset === undefined ? null : { ...data.subset },
    panicThreshold: data.panic_threshold,
    // A member that begins with nothing is never asked, and so never warms up.
    slowStart: data.slow_start === 0
      ? null
      : { window: data.slow_start, minimum: 0.1, aggression: 1 },
  };
}

/**
 * What to hash.
 *
 * @param on What holds when the data does not say it.
 */
export function toHashKey(
  data: NonNullable<BalancingData["hash"]>,
  on: HashOn | null,
): HashKeySource {
  const name = data.name ?? "";
  switch (data.on ?? on ?? "address") {
    case "header":
      return { kind: "header", name: name.toLowerCase() };
    case "cookie":
      return { kind: "cookie", name };
    case "query":
      return { kind: "query", name };
    case "uri":
      return { kind: "uri" };
    case "path":
      return { kind: "path" };
    case "address":
      return { kind: "client_address" };
  }
}

function toSticky(data: NonNullable<BalancingData["sticky"]>): StickyConfig {
  return {
    cookie: data.cookie,
    secret: data.secret ?? null,
    path: "/",
    ...(data.ttl === 0 ? {} : { maxAge: Math.ceil(data.ttl / 1000) }),
    secure: data.secure,
    sameSite: SAME_SITE[data.same_site],
  };
}
