/**
 * Whether two authorities name the same place.
 *
 * @module
 */

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
