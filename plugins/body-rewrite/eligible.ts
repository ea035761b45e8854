/**
 * Which responses may be rewritten. Pure.
 *
 * @module
 */

/** What is asked of a response. */
export interface Facts {
  readonly status: number;
  readonly contentType: string | null;
  readonly contentEncoding: string | null;
  readonly contentLength: string | null;
  readonly cacheControl: string | null;
}

/** What the operator says of it. */
export interface Bounds {
  /** `text/html`, `text/*`; in lower case. */
  readonly types: readonly string[];
  readonly maxBytes: number;
}

/** Charsets whose bytes for what is searched are those of UTF-8. */
const CHARSETS = new Set(["utf-8", "utf8", "us-ascii", "ascii"]);

/** Whether a response is rewritten. */
export function isEligible(facts: Facts, bounds: Bounds): boolean {
  const { status, contentType, contentEncoding, contentLength, cacheControl } = facts;
  // Part of a text may begin within a word that is searched; 204 and 304 have no content.
  if (status < 200 || status === 204 || status === 206 || status === 304) return false;
  if (contentEncoding !== null && contentEncoding.trim().toLowerCase() !== "identity") return false;
  if (contentLength !== null && Number(contentLength) > bounds.maxBytes) return false;
  // RFC 9111 §5.2.2.6
  if (/(?:^|,)\s*no-transform\s*(?:,|$)/i.test(cacheControl ?? "")) return false;
  const [type = "", ...parameters] = (contentType ?? "").toLowerCase().split(";");
  const essence = type.trim();
  const slash = essence.indexOf("/");
  if (slash <= 0) return false;
  const wanted = bounds.types.some((one) =>
    one === essence || (one.endsWith("/*") && essence.startsWith(one.slice(0, -1)))
  );
  if (!wanted) return false;
  for (const parameter of parameters) {
    const charset = /^\s*charset\s*=\s*"?([^"]*)"?\s*$/.exec(parameter);
    if (charset !== null && !CHARSETS.has(charset[1]!.trim())) return false;
  }
  return true;
}

/** The entity tag of what was made from something else: weak, since the bytes differ (RFC 9110 §8.8.1). */
export function weakTag(tag: string): string {
  return tag.startsWith("W/") ? tag : `W/${tag}`;
}
