/**
 * Lists of addresses and networks.
 *
 * @module
 */
import ipaddr from "ipaddr.js";

type Address = ReturnType<typeof ipaddr.process>;
type Network = [Address, number];

/**
 * Reads an address or a network in CIDR form.
 *
 * @returns `null` if it is neither.
 */
export function parseNetwork(text: string): Network | null {
  const [address, bits, more] = text.split("/");
  if (address === undefined || more !== undefined || !isAddress(address)) return null;
  const parsed = ipaddr.parse(address);
  const width = parsed.kind() === "ipv4" ? 32 : 128;
  if (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > width)) return null;
  const length = bits === undefined ? width : Number(bits);
  // An IPv4 network written as IPv6 is the same network.
  if (parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress()) {
    return length >= 96 ? [parsed.toIPv4Address(), length - 96] : null;
  }
  return [parsed, length];
}

/** Whether an address is in one of the networks. What is no address is in none. */
export function isListed(networks: readonly Network[], text: string): boolean {
  if (networks.length === 0 || !isAddress(text)) return false;
  const address = ipaddr.process(text);
  return networks.some(([network, bits]) =>
    network.kind() === address.kind() && address.match(network, bits)
  );
}

// The library reads "010.1" and "0x7f.1" as addresses, which others read as different ones.
function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text);
}
