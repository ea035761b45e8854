/**
 * Addresses as the kernel has them: `sockaddr_in` and `sockaddr_in6`.
 *
 * @module
 */
import { endianness } from "node:os";
import ipaddr from "ipaddr.js";
import type { TcpAddress } from "../address.ts";
import type { SystemCalls } from "./system_calls.ts";

/** Address families. */
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Room for an address of either family, and for the length of it. */
export const ADDRESS_BYTES = 28;

const LITTLE = endianness() === "LE";

/** Writes an IP address and a port as the kernel wants them. */
export function packAddress({ host, port }: TcpAddress): Uint8Array {
  const [literal, zone] = host.split("%");
  const address = ipaddr.parse(literal!);
  const bytes = address.toByteArray();
  const v6 = address.kind() === "ipv6";
  const packed = new Uint8Array(v6 ? ADDRESS_BYTES : 16);
  const view = new DataView(packed.buffer);
  view.setUint16(0, v6 ? AF_INET6 : AF_INET, LITTLE);
  view.setUint16(2, port);
  packed.set(bytes, v6 ? 8 : 4);
  // Names of interfaces would have to be looked up; their numbers need not.
  if (v6 && zone !== undefined) view.setUint32(24, Number(zone) || 0, LITTLE);
  return packed;
}

/** Reads what the kernel has written. */
export function unpackAddress(packed: Uint8Array): TcpAddress {
  const family = LITTLE ? packed[0]! : packed[1]!;
  const port = packed[2]! << 8 | packed[3]!;
  if (family === AF_INET) {
    const host = `${packed[4]}.${packed[5]}.${packed[6]}.${packed[7]}`;
    return { kind: "tcp", host, port };
  }
  // A socket for both families shows IPv4 as `::ffff:a.b.c.d`.
  const address = ipaddr.process(ipaddr.fromByteArray([...packed.subarray(8, 24)]).toString());
  return { kind: "tcp", host: address.toString(), port };
}

const OWN = new Uint8Array(ADDRESS_BYTES);
const OWN_LENGTH = new Uint8Array(new Uint32Array([ADDRESS_BYTES]).buffer);

/** The near end of a connection. */
export function localAddress(calls: SystemCalls, descriptor: number): TcpAddress {
  calls.getsockname(descriptor, OWN, OWN_LENGTH);
  return unpackAddress(OWN);
}
