/**
 * Sets, appends and removes fields of requests and responses.
 *
 * The rules are followed in their order, and in each first `remove`, then `set`, then `append`. Answers that a
 * plugin or Sluice itself made are not changed: no response filter sees them. Where fields have only to be set
 * or removed for a whole route, `rules:` of the route does it without a plugin.
 *
 * A match here is for convenience: do not guard anything with it.
 *
 * ```yaml
 * plugins:
 *   - use: header-rules
 *     with:
 *       rules:
 *         - response:
 *             set: { x-content-type-options: nosniff }
 *             remove: [server, x-powered-by]
 *         - match: { path: [/assets/*], status: [200] }
 *           response:
 *             set: { cache-control: "public, max-age=31536000, immutable" }
 *         - match: { method: [POST] }
 *           request:
 *             append: { x-seen-by: sluice }
 * ```
 *
 * @module
 */
import { definePlugin, type MutableHeaders } from "@sluice/plugin";
import { z } from "zod";
import { matchRequest, matchStatus } from "./rule_match.ts";

/** Fields that say how a message is sent; only whoever sends it can know. */
const OWN = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const fieldName = z.string().max(256)
  .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, "must be a field name")
  .refine((name) => !OWN.has(name.toLowerCase()), "is a field that Sluice writes itself");

const fieldValue = z.string().max(8192).regex(
  // RFC 9110 §5.5; without white space around it.
  /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/,
  "must be a field value: no line breaks, no space around it, no characters beyond U+00FF",
);

const changes = z.strictObject({
  /** Fields to give this one value. */
  set: z.record(fieldName, fieldValue).default({}),
  /** Fields to add beside those that are there. */
  append: z.record(fieldName, fieldValue).default({}),
  /** Names of fields to remove. */
  remove: z.array(fieldName).max(256).default([]),
});

const config = z.strictObject({
  rules: z.array(
    z.strictObject({
      match: z.strictObject({
        path: z.array(
          z.string().regex(
            /^\/(?:[^*?#\s]*\/)?(?:[^*?#\s/]+|\*)?$/,
            'must be "/exact" or "/prefix/*"',
          ),
        ).min(1).optional(),
        method: z.array(z.string().regex(/^[A-Z][A-Z-]*$/, "must be a method, in capitals")).min(1)
          .optional(),
        /** For changes of the response only. */
        status: z.array(z.union(
          [z.int().min(200).max(599), z.string().regex(/^[2-5]xx$/)],
          'must be a status such as 404, or a class such as "5xx"',
        )).min(1).optional(),
      }).prefault({}),
      request: changes.optional(),
      response: changes.optional(),
    }).superRefine(({ match, request, response }, context) => {
      if (request === undefined && response === undefined) {
        context.addIssue({ code: "custom", message: "changes neither request nor response" });
      }
      if (match.status !== undefined && request !== undefined) {
        context.addIssue({
          code: "custom",
          path: ["match", "status"],
          message: "is not known yet when the request is changed: split the rule",
        });
      }
    }),
  ).max(256).default([]),
});

type Changes = z.output<typeof changes>;

/** Does what a rule says. */
export function applyChanges(headers: MutableHeaders, changes: Changes): void {
  for (const name of changes.remove) headers.delete(name);
  for (const [name, value] of Object.entries(changes.set)) headers.set(name, value);
  for (const [name, value] of Object.entries(changes.append)) headers.append(name, value);
}

export default definePlugin({
  name: "header-rules",
  version: "1.0.0",
  config,
  setup: ({ config }) =>
    config.rules.map(({ match, request, response }) => ({
      request,
      response,
      matches: matchRequest(match),
      matchesStatus: matchStatus(match),
    })),
  requestFilter(session, { state }) {
    const { method, path } = session.request;
    for (const { request, matches } of state) {
      if (request !== undefined && matches(method, path)) {
        applyChanges(session.upstreamRequest.headers, request);
      }
    }
  },
  responseFilter(session, { state }) {
    const { method, path } = session.request;
    for (const { response, matches, matchesStatus } of state) {
      if (response === undefined || !matches(method, path)) continue;
      if (matchesStatus(session.response.status)) applyChanges(session.response.headers, response);
    }
  },
});
