/**
 * Names of hosts and the patterns of certificates: an exact name, or `*.` and a domain for one label below it
 * (RFC 6125 §6.4.3).
 *
 * @module
 */

/** A name as it is compared: lower case, without the dot of the root. */
export function plainHost(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

/** The pattern that stands for a name and its siblings, `*.example.com` for `a.example.com`; empty if there is none. */
export function wildcardOf(host: string): string {
  const dot = host.indexOf(".");
  return dot <= 0 ? "" : `*${host.slice(dot)}`;
}

/** Whether one of the patterns is for a host, which is a plain name or an IP address. */
export function coversHost(patterns: readonly string[], host: string): boolean {
  if (patterns.includes(host)) return true;
  // An address has no siblings.
  if (host.includes(":") || /^[\d.]+$/.test(host)) return false;
  const wildcard = wildcardOf(host);
  return wildcard !== "" && patterns.includes(wildcard);
}
