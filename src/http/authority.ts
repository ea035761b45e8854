/**
 * Hosts and ports as they stand in Host fields and targets (RFC 3986 §3.2, RFC 9110 §7.2).
 *
 * @module
 */

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
