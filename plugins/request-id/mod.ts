/**
 * Gives each request an id, and tells it to the upstream and to the client.
 *
 * The id is that of the access log and of the problem documents, unless the client's own is taken over. The
 * id stands in the var `request-id.id` for other plugins. Answers that a plugin or Sluice itself made carry
 * no id field: no response filter sees them. Problem documents of Sluice name it in `request_id`.
 *
 * ```yaml
 * plugins:
 *   - use: request-id
 *     with:
 *       field: x-request-id
 *       accept_incoming: true
 * ```
 *
 * @module
 */
import { definePlugin } from "@sluice/plugin";
import { z } from "zod";

const ID_VAR = "request-id.id";
/** Fields that an id would break. */
const TAKEN = new Set([
  "authorization",
  "connection",
  "content-length",
  "cookie",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const config = z.strictObject({
  /** Name of the field. */
  field: z.string().regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/, "must be a field name")
    .refine((name) => !TAKEN.has(name.toLowerCase()), "is a field that means something else")
    .default("x-request-id"),
  /** Whether a well-formed id of the client is kept. Only where whoever is in front can be trusted. */
  accept_incoming: z.boolean().default(false),
  /** Whether the client is told the id. */
  respond: z.boolean().default(true),
});

/** Whether an id from outside is safe to log and to pass on: 8 to 128 characters of a narrow alphabet. */
export function isRequestId(id: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._:+/=-]{7,127}$/.test(id);
}

/** The id that the client sent, if it sent exactly one that is well-formed. */
export function incomingId(values: readonly string[]): string | null {
  const [only] = values;
  return values.length === 1 && only !== undefined && isRequestId(only) ? only : null;
}

export default definePlugin({
  name: "request-id",
  version: "1.0.0",
  config,
  earlyRequestFilter(session, { config }) {
    const sent = config.accept_incoming
      ? incomingId(session.request.headers.getAll(config.field))
      : null;
    const id = sent ?? session.id;
    session.vars.set(ID_VAR, id);
    session.upstreamRequest.headers.set(config.field, id);
  },
  responseFilter(session, { config }) {
    const id = session.vars.get(ID_VAR);
    if (config.respond && typeof id === "string") session.response.headers.set(config.field, id);
  },
});
