/**
 * Hosts and ports as they stand in Host fields and targets (RFC 3986 §3.2, RFC 9110 §7.2).
 *
 * @module
 */
import { BRACKET_CLOSE, BRACKET_OPEN, CLASS, COLON, LITERAL, NAME } from "./grammar.ts";

// A registered name or an IPv4 literal without user information, or an IPv6 literal.
const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=\-]+)(?::\d{0,5})?$/;

/** Whether a text is a host with or without a port, and nothing else. */
export function isAuthority(text: string): boolean {
  return AUTHORITY.test(text);
}

/** Compares host and port; case does not count, nor does the default port of the scheme. */
export function isSameAuthority(a: string, b: string, scheme: "http" | "https"): boolean {
  return a === b || normalise(a, scheme) === normalise(b, scheme);
}

function normalise(authority: string, scheme: "http" | "https"): string {
  const lower = authority.toLowerCase();
  const port = scheme === "http" ? ":80" : ":443";
  if (lower.endsWith(port)) return lower.slice(0, -port.length);
  return lower.endsWith(":") ? lower.slice(0, -1) : lower;
}

/** Whether `bytes[start, end)` is a host with or without port (RFC 3986 §3.2), without user information. */
export function isAuthorityAt(
  bytes: Uint8Array,
  start: number,
  end: number,
  needsPort: boolean,
): boolean {
  let position = start;
  if (bytes[position] === BRACKET_OPEN) {
    position++;
    while (position < end && (CLASS[bytes[position]!]! & LITERAL) !== 0) position++;
    if (position - start < 3 || position >= end || bytes[position] !== BRACKET_CLOSE) return false;
    position++;
  } else {
    while (position < end && (CLASS[bytes[position]!]! & NAME) !== 0) position++;
    if (position === start) return false;
  }
  if (position === end) return !needsPort;
  if (bytes[position] !== COLON) return false;
  const digits = end - ++position;
  if (digits === 0) return !needsPort;
  if (digits > 5) return false;
  let port = 0;
  for (; position < end; position++) {
    const digit = bytes[position]! - 48;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
  }
  return port <= 65535;
}

/** The host of an authority, lower case, without port, brackets and the dot of the root. */
export function hostOf(authority: string): string {
  if (authority.startsWith("[")) return authority.slice(1, authority.indexOf("]")).toLowerCase();
  const colon = authority.indexOf(":");
  const host = (colon === -1 ? authority : authority.slice(0, colon)).toLowerCase();
  return host.endsWith(".") ? host.slice(0, -1) : host;
}

/** The URL of a request; of one without a path, that of its authority. */
export function requestUrl(scheme: string, authority: string, target: string): string {
  return `${scheme}://${authority}${target.startsWith("/") ? target : ""}`;
}
