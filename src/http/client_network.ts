/**
 * Which addresses count as one client where something is shared out among clients.
 *
 * @module
 */
import ipaddr from "ipaddr.js";

/** Groups of an IPv6 address that are the network's: whoever has one address of a /64 has all of it. */
const NETWORK_GROUPS = 4;

/**
 * The address for IPv4, also where it stands in one of IPv6; the first 64 bits for IPv6.
 *
 * @param address What is no IP address stands for itself.
 */
export function clientNetwork(address: string): string {
  if (!address.includes(":") || !ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  return parsed instanceof ipaddr.IPv6
    ? `${parsed.parts.slice(0, NETWORK_GROUPS).map((part) => part.toString(16)).join(":")}::/64`
    : parsed.toString();
}
