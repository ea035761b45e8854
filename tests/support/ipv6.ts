/**
 * Whether this machine has a loopback of IPv6.
 *
 * @module
 */
export function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}
