/**
 * The protocols that a request may ask to switch to (RFC 9110 §7.8, RFC 8441 §4).
 *
 * @module
 */

/**
 * The protocol that a client offers: the first of `Upgrade`, or `:protocol`, in lower case; empty if it is not
 * one or is not let through. HTTP over HTTP is left out: through a tunnel of it requests would pass that no rule
 * has seen.
 */
export function upgradeProtocol(value: string): string {
  const protocol = value.split(",", 1)[0]!.trim().toLowerCase();
  if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+(\/[!#$%&'*+\-.^_`|~0-9a-z]+)?$/.test(protocol)) return "";
  return /^(?:h2c?|http|tls)(?:\/|$)/.test(protocol) ? "" : protocol;
}
