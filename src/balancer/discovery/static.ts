/**
 * Endpoints that stand in the configuration.
 *
 * @module
 */
import type { Endpoint } from "../backend.ts";
import type { Discovery, DiscoveryTools } from "./discovery.ts";
import { KeptSet } from "./kept_set.ts";

/** Settings. Plain data. */
export interface StaticConfig {
  readonly type: "static";
  /** Told in this order: it is the one that somebody has chosen. */
  readonly endpoints: readonly Endpoint[];
}

/** Tells its endpoints when it begins, and nothing afterwards. */
export function createStatic(config: StaticConfig, tools: DiscoveryTools): Discovery {
  const kept = new KeptSet({ context: "Endpoints", allowEmpty: true, date: tools.date });
  let stopped = false;
  return {
    start(events) {
      kept.open(events);
      if (!stopped) kept.accept(config.endpoints);
    },
    refresh() {},
    stop() {
      stopped = true;
    },
    state: () => kept.state(),
  };
}
