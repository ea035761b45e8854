/**
 * Sends a share of the requests to another group of upstreams, and keeps each client with its group.
 *
 * With `sticky: cookie`, the first response sets a cookie that names the group. Whoever sends the cookie of a
 * group gets that group, so a tester can choose. A group of weight 0 gets nobody, with or without cookie:
 * that is how a release is taken back. With `sticky: client`, the group follows from the client's address and
 * nothing is stored. All attempts for one request go to the same group.
 *
 * Without groups, the route's own upstream is asked. The groups must stand under `upstreams:`.
 *
 * ```yaml
 * plugins:
 *   - use: canary
 *     with:
 *       groups:
 *         - { upstream: stable, weight: 95 }
 *         - { upstream: next, weight: 5 }
 *       sticky: cookie
 *       cookie: { name: release, max_age: 86400 }
 * ```
 *
 * @module
 */
import { definePlugin } from "@sluice/plugin";
import { z } from "zod";
import { cookieValue, pickShare, pointOf } from "./assignment.ts";

const GROUP_VAR = "canary.group";
const FRESH_VAR = "canary.fresh";

// A name that can stand in a cookie as it is; names of upstream groups are made of the same characters.
const name = z.string().regex(
  /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/,
  "must be a name of letters, digits, dots, dashes, colons and underscores",
);

const config = z.strictObject({
  /** Names of upstream groups, and their shares. */
  groups: z.array(z.strictObject({
    upstream: name,
    weight: z.int().min(0).max(1_000_000),
  })).max(32).default([]),
  /** How a client stays with its group: `cookie`, `client` (its address) or `none`. */
  sticky: z.enum(["cookie", "client", "none"]).default("cookie"),
  cookie: z.strictObject({
    name: z.string().regex(
      /^[A-Za-z0-9_-]{1,64}$/,
      "must be letters, digits, dashes and underscores",
    )
      .default("sluice-canary"),
    /** Seconds; `0`: until the browser is closed. */
    max_age: z.int().min(0).max(34_560_000).default(86_400),
  }).prefault({}),
  /** With another salt, `sticky: client` deals the addresses anew. */
  salt: z.string().max(128).default(""),
}).superRefine(({ groups }, context) => {
  const seen = new Set<string>();
  groups.forEach(({ upstream }, i) => {
    if (seen.has(upstream)) {
      context.addIssue({
        code: "custom",
        path: ["groups", i, "upstream"],
        message: `"${upstream}" is listed twice`,
      });
    }
    seen.add(upstream);
  });
  if (groups.length > 0 && groups.every(({ weight }) => weight === 0)) {
    context.addIssue({
      code: "custom",
      path: ["groups"],
      message: "every weight is 0, so that no group could be chosen",
    });
  }
});

export default definePlugin({
  name: "canary",
  version: "1.0.0",
  config,
  upstreamPeer(session, { config }) {
    const { groups, sticky, cookie, salt } = config;
    if (groups.length === 0) return;
    const earlier = session.vars.get(GROUP_VAR);
    if (typeof earlier === "string") return earlier;
    let group: string | null = null;
    if (sticky === "cookie") {
      const asked = cookieValue(session.request.headers.get("cookie"), cookie.name);
      if (groups.some(({ upstream, weight }) => upstream === asked && weight > 0)) group = asked;
    }
    if (group === null) {
      const { address } = session.client;
      // Behind a unix socket there may be no address to go by.
      const point = sticky === "client" && address !== ""
        ? pointOf(`${salt} ${address}`)
        : Math.random();
      group = pickShare(groups, point);
      if (sticky === "cookie") session.vars.set(FRESH_VAR, true);
    }
    if (group === null) return;
    session.vars.set(GROUP_VAR, group);
    return group;
  },
  responseFilter(session, { config: { cookie } }) {
    const group = session.vars.get(GROUP_VAR);
    if (typeof group !== "string" || session.vars.get(FRESH_VAR) !== true) return;
    const age = cookie.max_age === 0 ? "" : `; Max-Age=${cookie.max_age}`;
    const secure = session.request.scheme === "https" ? "; Secure" : "";
    session.response.headers.append(
      "set-cookie",
      `${cookie.name}=${group}; Path=/${age}; HttpOnly; SameSite=Lax${secure}`,
    );
  },
});
