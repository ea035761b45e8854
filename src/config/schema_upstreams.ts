/**
 * The schema of `upstreams`.
 *
 * @module
 */
import { z } from "zod";
import { endpoint, integer, name, yesNo } from "./leaves.ts";
import { balancingSchema, labels } from "./schema_balancing.ts";
import { mapping, optional, required, withDefault } from "./schema_base.ts";
import { discoverySchema } from "./schema_discovery.ts";
import { breakerSchema, healthSchema } from "./schema_health.ts";
import { transportSchema } from "./schema_transport.ts";

const endpointEntry = () =>
  z.union([
    endpoint(),
    mapping({
      address: required(
        endpoint(),
        "Where it is: `host:port`, `http://host`, `https://host` or `unix:/path`.",
      ),
      weight: withDefault(
        integer(0, 65535),
        1,
        "Share of the requests; `0` gets none.",
      ),
      priority: withDefault(
        integer(0, 255),
        0,
        "Tier; a higher number is asked only when too few of the lower ones are usable.",
      ),
      backup: withDefault(
        yesNo(),
        false,
        "`true`: in a tier of its own, after all those that are no backup.",
      ),
      labels: withDefault(labels(), {}, "What `subset` chooses by: names and values."),
    }),
  ]);

/** A named set of endpoints. */
export const upstreamSchema = () =>
  mapping({
    name: required(name(), "Name for routes to refer to."),
    load_balancing: withDefault(balancingSchema(), {}, "How an endpoint is chosen."),
    endpoints: optional(
      z.array(endpointEntry()).min(1),
      "Where the upstream is: addresses, or mappings with `address`. Required without `discovery`.",
    ),
    discovery: optional(
      discoverySchema(),
      "Where the endpoints come from, in place of `endpoints`.",
    ),
    health_check: withDefault(healthSchema(), {}, "Which endpoints work."),
    circuit_breaker: optional(
      breakerSchema(),
      "When the upstream as a whole gets no more requests. Default: never.",
    ),
    transport: withDefault(transportSchema(), {}, "How endpoints are connected to."),
  });
