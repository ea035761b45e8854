/**
 * Request methods and what RFC 9110 §9.2 says of them.
 *
 * @module
 */
import { latin1 } from "./fields.ts";

const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"]);

/** Whether a method only reads (RFC 9110 §9.2.1). */
export function isSafe(method: string): boolean {
  return method === "GET" || SAFE.has(method);
}

/** Whether sending it twice means the same as sending it once (RFC 9110 §9.2.2). */
export function isIdempotent(method: string): boolean {
  return isSafe(method) || method === "PUT" || method === "DELETE";
}

const METHODS = ["GET", "PUT", "HEAD", "POST", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"];

/** The method in `bytes[start, end)` as a string; the usual ones without making one. Methods are case-sensitive. */
export function methodOf(bytes: Uint8Array, start: number, end: number): string {
  candidates: for (let m = 0; m < METHODS.length; m++) {
    const method = METHODS[m]!;
    if (method.length !== end - start) continue;
    for (let i = 0; i < method.length; i++) {
      if (method.charCodeAt(i) !== bytes[start + i]) continue candidates;
    }
    return method;
  }
  return latin1(bytes, start, end);
}
