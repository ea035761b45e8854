/**
 * Request methods and what RFC 9110 §9.2 says of them.
 *
 * @module
 */

const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"]);

/** Whether a method only reads (RFC 9110 §9.2.1). */
export function isSafe(method: string): boolean {
  return method === "GET" || SAFE.has(method);
}

/** Whether sending it twice means the same as sending it once (RFC 9110 §9.2.2). */
export function isIdempotent(method: string): boolean {
  return isSafe(method) || method === "PUT" || method === "DELETE";
}
