/**
 * Who may use the admin interface: over a unix socket whoever may open it, over TCP whoever knows the token, and
 * no page that a browser has loaded from somewhere.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { AdminConfig } from "../../config/types.ts";
import { type EndpointAnswer, type EndpointRequest, problem } from "./http_endpoint.ts";

/** Names by which a browser on this host reaches this host; a page elsewhere can give itself others (DNS rebinding). */
const OWN_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

/** Why a request is not let in, as its answer; `null` if it is. */
export function refuseStranger(
  request: EndpointRequest,
  { address, token }: AdminConfig,
): EndpointAnswer | null {
  const host = request.field("host") ?? "";
  if (address.kind === "tcp" && !OWN_HOST.test(host)) {
    return problem(
      403,
      "host_denied",
      "The Host field names another host: use localhost or 127.0.0.1.",
    );
  }
  const origin = request.field("origin");
  if (origin !== null && origin.toLowerCase() !== `http://${host.toLowerCase()}`) {
    return problem(403, "origin_denied", "Pages of other origins have nothing to ask here.");
  }
  if (token === null || hasToken(request, token)) return null;
  return {
    ...problem(401, "token_missing", "Send the token of the config: Authorization: Bearer …"),
    fields: { "WWW-Authenticate": "Bearer" },
  };
}

function hasToken(request: EndpointRequest, token: string): boolean {
  const given = /^Bearer +(\S+)$/i.exec(request.field("authorization") ?? "")?.[1] ?? "";
  // Digests are of one length, whatever was given.
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
