/**
 * What tools ask without a token: whether the program lives, whether it wants traffic, and its metrics.
 *
 * @module
 */
import { METRICS_CONTENT_TYPE, metricsFormat, metricsText } from "../../observe/metrics/text.ts";
import { type EndpointAnswer, type EndpointRequest, notAllowed, plain } from "./http_endpoint.ts";
import type { ProgramMetrics } from "./program_metrics.ts";

/** How the program is. */
export type ProgramState = "starting" | "ready" | "draining";

/** Answers `/livez` and `/readyz`; `null` for another path. */
export function answerProbe(request: EndpointRequest, state: ProgramState): EndpointAnswer | null {
  const { path } = request;
  if (path !== "/livez" && path !== "/readyz") return null;
  if (!isRead(request)) return notAllowed(["GET", "HEAD"]);
  // Whoever drains still lives: it must not be killed for it.
  return path === "/livez" ? plain("alive") : plain(state, state === "ready" ? 200 : 503);
}

/** All metrics, in the format that the client asks for. */
export function answerMetrics(request: EndpointRequest, metrics: ProgramMetrics): EndpointAnswer {
  if (!isRead(request)) return notAllowed(["GET", "HEAD"]);
  const format = metricsFormat(request.field("accept"));
  return {
    status: 200,
    type: METRICS_CONTENT_TYPE[format],
    body: metricsText(metrics.snapshot(), format),
  };
}

/** Whether a request only reads. */
export function isRead({ method }: EndpointRequest): boolean {
  return method === "GET" || method === "HEAD";
}
