/**
 * The schema of `load_balancing`: who of an upstream is asked next.
 *
 * @module
 */
import { z } from "zod";
import type { PolicyName } from "../balancer/selection/table.ts";
import { cookieName } from "./leaves_http.ts";
import { duration, percent, text, yesNo } from "./leaves.ts";
import { mapping, optional, required, withDefault } from "./schema_base.ts";

/** Every policy by the names it has in the file, with what it hashes if the name says so. */
export const POLICIES = {
  round_robin: { policy: "round_robin", hashes: null },
  weighted: { policy: "round_robin", hashes: null },
  random: { policy: "random", hashes: null },
  least_connections: { policy: "least_connections", hashes: null },
  least_conn: { policy: "least_connections", hashes: null },
  power_of_two: { policy: "power_of_two", hashes: null },
  p2c: { policy: "power_of_two", hashes: null },
  peak_ewma: { policy: "peak_ewma", hashes: null },
  ketama: { policy: "ketama", hashes: null },
  hash: { policy: "hash", hashes: null },
  ip_hash: { policy: "hash", hashes: "address" },
  header_hash: { policy: "hash", hashes: "header" },
  cookie_hash: { policy: "hash", hashes: "cookie" },
  uri_hash: { policy: "hash", hashes: "uri" },
} as const satisfies Readonly<
  Record<string, { readonly policy: PolicyName; readonly hashes: HashOn | null }>
>;

/** The name of a policy as the file may spell it. */
export type PolicySpelling = keyof typeof POLICIES;

/** What can be hashed. */
export const HASH_ON = ["address", "header", "cookie", "uri", "path", "query"] as const;
export type HashOn = typeof HASH_ON[number];

/** What of a request is hashed. `on` is required wherever nothing else says it. */
export const hashKeySchema = () =>
  mapping({
    on: optional(
      z.enum(HASH_ON),
      "`address` of the client, a `header`, a `cookie`, the `uri` (path and query), the `path` or an argument of the `query`.",
    ),
    name: optional(text("a name"), "Name of the header, cookie or argument."),
  });

const sticky = () =>
  mapping({
    cookie: required(cookieName(), "Name of the cookie."),
    ttl: withDefault(
      duration(),
      "0s",
      "How long a client keeps the cookie, in whole seconds; `0`: until the browser is closed.",
    ),
    secure: withDefault(
      yesNo(),
      true,
      "Whether the client sends it over TLS only. Set it to `false` where clients come over plain HTTP.",
    ),
    same_site: withDefault(
      z.enum(["strict", "lax", "none"]),
      "lax",
      "Whether it is sent with requests from other sites; `none` needs `secure`.",
    ),
    secret: optional(
      text("a secret of 16 characters or more"),
      "Key of the values, 16 characters or more, the same on every proxy in front of the upstream. Default: a new one at each start, so that clients may change their endpoint then.",
    ),
  });

/** Labels, which are names and values of the user's. */
export const labels = () => z.record(z.string(), text("a value in quotes"));

/** How an endpoint is chosen. */
export const balancingSchema = () =>
  mapping({
    policy: withDefault(
      z.enum(Object.keys(POLICIES) as [PolicySpelling, ...PolicySpelling[]]),
      "round_robin",
      "Who is next; see below. All heed the weights.",
    ),
    hash: optional(
      hashKeySchema(),
      "What the policies that hash decide by. Requests without it take turns.",
    ),
    sticky: optional(
      sticky(),
      "Keep a client with the endpoint that answered it first, by a cookie.",
    ),
    subset: optional(
      labels(),
      "Prefer the endpoints with these labels, as long as enough of them are usable.",
    ),
    panic_threshold: withDefault(
      percent(),
      "50%",
      "When less of the weight of every tier is usable, health is ignored: then it is more likely the checks that are wrong. `0%`: never.",
    ),
    slow_start: withDefault(
      duration(),
      "0s",
      "How long an endpoint that comes back takes to get its full share; `0`: it gets it at once.",
    ),
  });
