/**
 * Which fields may not come in a trailer section.
 *
 * @module
 */
import { fieldId, IS_HOP_BY_HOP, IS_PROTECTED } from "./field_names.ts";
import type { Fields } from "./fields.ts";

// RFC 9110 §6.5.1: framing, routing, request modifiers, authentication, response control and how to read content.
const FORBIDDEN = new Set([
  "age",
  "cache-control",
  "content-disposition",
  "content-location",
  "expect",
  "expires",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "location",
  "max-forwards",
  "pragma",
  "proxy-authentication-info",
  "range",
  "retry-after",
  "vary",
  "www-authenticate",
]);

/** Whether a field of this lower-case name may come in a trailer section. */
export function isAllowedInTrailers(lowerCaseName: string): boolean {
  // Servers that make variables of fields read `_` and `-` as one (RFC 3875 §4.1.18).
  const name = lowerCaseName.replaceAll("_", "-");
  const id = fieldId(name);
  return IS_HOP_BY_HOP[id] !== 1 && IS_PROTECTED[id] !== 1 && !FORBIDDEN.has(name) &&
    !name.startsWith(":");
}

/** Drops what may not come in a trailer section. Others would take it for a field of the head. */
export function dropForbiddenTrailers(trailers: Fields): void {
  const names = new Set<string>();
  for (const [name] of trailers) names.add(name.toLowerCase());
  for (const name of names) if (!isAllowedInTrailers(name)) trailers.delete(name);
}
