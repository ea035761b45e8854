/**
 * Networks whose word is taken, as the operator listed them.
 *
 * @module
 */
import ipaddr from "ipaddr.js";

type Range = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

/** Says whether an address lies in one of a list of networks. */
export class TrustedNetworks {
  readonly #ranges: readonly Range[];
  /** The last answers: a proxy in front comes with the same few addresses again and again. */
  readonly #known = new Map<string, boolean>();

  /**
   * @param networks CIDR ranges or single addresses.
   * @throws {TypeError} If one is neither.
   */
  constructor(networks: readonly string[]) {
    this.#ranges = networks.map(parseNetwork);
  }

  /** Whether `address` is in one of them. */
  includes(address: string): boolean {
    if (this.#ranges.length === 0) return false;
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const answer = this.#lookUp(address);
    if (this.#known.size >= 1024) this.#known.clear();
    this.#known.set(address, answer);
    return answer;
  }

  #lookUp(address: string): boolean {
    if (!ipaddr.isValid(address)) return false;
    const parsed = ipaddr.process(address);
    return this.#ranges.some(([network, bits]) =>
      network.kind() === parsed.kind() && parsed.match(network as ipaddr.IPv4, bits)
    );
  }
}

/**
 * Reads `10.0.0.0/8`, `fd00::/8` or a single address.
 *
 * @throws {TypeError} If the text is none of these.
 */
export function parseNetwork(text: string): Range {
  try {
    if (text.includes("/")) return ipaddr.parseCIDR(text);
    const address = ipaddr.parse(text);
    return [address, address.kind() === "ipv4" ? 32 : 128];
  } catch {
    throw new TypeError(
      `${JSON.stringify(text)} is not an address or a network such as 10.0.0.0/8`,
    );
  }
}
