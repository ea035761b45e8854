/**
 * The content of a request as JSON.
 *
 * @module
 */
import { type EndpointAnswer, type EndpointRequest, problem } from "./http_endpoint.ts";

/** The members of a JSON object, or why there is none. */
export function readJson(request: EndpointRequest): Map<string, unknown> | EndpointAnswer {
  // A page cannot send this type to another origin without asking first.
  if (!/^application\/json\s*(;|$)/i.test(request.field("content-type") ?? "")) {
    return problem(415, "not_json", "Send Content-Type: application/json.");
  }
  try {
    const data = JSON.parse(request.content) as unknown;
    if (typeof data === "object" && data !== null && !Array.isArray(data)) {
      return new Map(Object.entries(data));
    }
  } catch { /* Told below. */ }
  return problem(400, "not_json", "The content is no JSON object.");
}
