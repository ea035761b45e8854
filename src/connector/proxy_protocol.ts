/**
 * The PROXY protocol, versions 1 and 2, as its sender: a header at the very beginning of a connection that says for
 * whom it is made (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
 *
 * @module
 */
import ipaddr from "ipaddr.js";
import type { Address, TcpAddress } from "../transport/address.ts";

/** Both ends of the connection of a client. */
export interface ProxiedClient {
  /** The client. */
  readonly source: Address;
  /** Where it connected to. */
  readonly destination: Address;
}

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

/**
 * Writes the header.
 *
 * @param client For whom the connection is made, or `null`: for ourselves (`LOCAL`; version 1 says `UNKNOWN`). A client
 * that did not come by TCP has no address to tell.
 */
export function proxyHeader(version: "v1" | "v2", client: ProxiedClient | null): Uint8Array {
  const ends = client === null ? null : tcpEnds(client);
  if (version === "v1") return new TextEncoder().encode(`${lineOf(ends)}\r\n`);
  if (client === null) return Uint8Array.of(...SIGNATURE, 0x20, 0x00, 0, 0);
  if (ends === null) return Uint8Array.of(...SIGNATURE, 0x21, 0x00, 0, 0);
  const { source, destination } = ends;
  const addresses = [...source.bytes, ...destination.bytes];
  return Uint8Array.of(
    ...SIGNATURE,
    0x21,
    // AF_INET or AF_INET6, and STREAM.
    ends.isIpv6 ? 0x21 : 0x11,
    0,
    addresses.length + 4,
    ...addresses,
    source.port >> 8,
    source.port & 255,
    destination.port >> 8,
    destination.port & 255,
  );
}

interface End {
  readonly text: string;
  readonly bytes: readonly number[];
  readonly port: number;
}

interface Ends {
  readonly isIpv6: boolean;
  readonly source: End;
  readonly destination: End;
}

function lineOf(ends: Ends | null): string {
  if (ends === null) return "PROXY UNKNOWN";
  const { isIpv6, source, destination } = ends;
  return `PROXY ${
    isIpv6 ? "TCP6" : "TCP4"
  } ${source.text} ${destination.text} ${source.port} ${destination.port}`;
}

/** Both ends in one family: the header has room for one. */
function tcpEnds({ source, destination }: ProxiedClient): Ends | null {
  if (source.kind !== "tcp" || destination.kind !== "tcp") return null;
  const from = parse(source);
  const to = parse(destination);
  if (from === null || to === null) return null;
  const isIpv6 = from.kind() === "ipv6" || to.kind() === "ipv6";
  return {
    isIpv6,
    source: endOf(from, source.port, isIpv6),
    destination: endOf(to, destination.port, isIpv6),
  };
}

function parse({ host }: TcpAddress): ipaddr.IPv4 | ipaddr.IPv6 | null {
  // The zone of a link-local address means nothing to anybody else.
  const bare = host.replace(/%.*$/, "");
  return ipaddr.IPv4.isValidFourPartDecimal(bare) || ipaddr.IPv6.isValid(bare)
    ? ipaddr.process(bare)
    : null;
}

function endOf(address: ipaddr.IPv4 | ipaddr.IPv6, port: number, isIpv6: boolean): End {
  const one = isIpv6 && address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address;
  return { text: one.toString(), bytes: one.toByteArray(), port };
}
