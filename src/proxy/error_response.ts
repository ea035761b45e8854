/**
 * The answer that a client gets when a request has failed: RFC 9457 body, RFC 9209 `Proxy-Status`.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import { ACCEPT } from "../http/field_names.ts";
import { Fields } from "../http/fields.ts";
import { type RequestHead, ResponseHead } from "../http/message.ts";
import { reasonPhrase } from "../http/reason.ts";
import { WEBSOCKET } from "../http/websocket.ts";
import { PSEUDONYM } from "./request_path.ts";

const encoder = new TextEncoder();

/** An answer made here. */
export interface ErrorResponse {
  readonly head: ResponseHead;
  readonly body: Uint8Array;
}

/** Sentences for clients. They name no address, no file and nothing else that is ours to know. */
const DETAILS: { readonly [status: number]: string } = {
  404: "No route matches this request.",
  500: "The proxy failed to handle this request.",
  502: "The upstream server could not be reached or did not answer properly.",
  503: "No upstream server can take this request now.",
  504: "The upstream server did not answer in time.",
  508: "The request has passed this proxy before.",
};

/** What {@linkcode errorResponse} may say besides the error. */
export interface ErrorContext {
  /** The request, if it could be read. */
  readonly request: RequestHead | null;
  readonly requestId: string | null;
}

/** Makes the answer to a failed request. */
export function errorResponse(error: ProxyError, context: ErrorContext): ErrorResponse {
  const status = shownStatus(error);
  const title = reasonPhrase(status) || "Error";
  const detail = errorDetail(error);
  const wantsHtml = prefersHtml(context.request);
  const text = wantsHtml
    ? page(status, title, detail, context.requestId)
    : problem(error, status, title, detail, context);
  const body = encoder.encode(text);
  const fields = new Fields();
  fields.appendTrusted(
    "Content-Type",
    wantsHtml ? "text/html; charset=utf-8" : "application/problem+json",
  );
  fields.appendTrusted("Cache-Control", "no-store");
  const told = proxyStatus(error);
  if (told !== "") fields.appendTrusted("Proxy-Status", told);
  if (status === 405) fields.appendTrusted("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  if (status === 426) {
    // RFC 9110 §15.5.22 and RFC 6455 §4.4: what would do.
    fields.appendTrusted("Upgrade", WEBSOCKET);
    fields.appendTrusted("Sec-WebSocket-Version", "13");
  }
  if (status === 503) {
    const seconds = Math.max(1, Math.ceil(error.retryAfter / 1000));
    fields.appendTrusted("Retry-After", String(seconds));
  }
  return { head: new ResponseHead(status, fields), body };
}

function shownStatus(error: ProxyError): number {
  return error.status >= 400 ? error.status : 500;
}

/** What a client is told of an error, in one sentence. */
export function errorDetail(error: ProxyError): string {
  // What a client did wrong is told as it was found; what went wrong behind us is not its business.
  if (error.source === "downstream") return `${error.message}.`;
  const status = shownStatus(error);
  return DETAILS[status] ?? (reasonPhrase(status) || "Error");
}

/** The value of `Proxy-Status` (RFC 9209) for an error, or an empty string. */
export function proxyStatus({ token }: ProxyError): string {
  return token === "" ? "" : `${PSEUDONYM}; error=${token}`;
}

function prefersHtml(request: RequestHead | null): boolean {
  const accept = request?.fields.first(ACCEPT);
  return accept !== null && accept !== undefined && accept.includes("text/html") &&
    !accept.includes("json");
}

function problem(
  error: ProxyError,
  status: number,
  title: string,
  detail: string,
  context: ErrorContext,
): string {
  return JSON.stringify({
    type: `urn:sluice:problem:${error.type}`,
    title,
    status,
    detail,
    ...(context.request === null ? {} : { instance: context.request.path }),
    ...(context.requestId === null ? {} : { request_id: context.requestId }),
  });
}

function page(status: number, title: string, detail: string, requestId: string | null): string {
  const id = requestId === null ? "" : `<p><small>Request ${requestId}</small></p>\n`;
  return `<!doctype html>
<meta charset="utf-8">
<title>${status} ${title}</title>
<h1>${status} ${title}</h1>
<p>${escapeHtml(detail)}</p>
${id}`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
