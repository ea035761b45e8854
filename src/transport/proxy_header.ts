/**
 * The header of the PROXY protocol, versions 1 and 2, as its receiver: what a proxy in front says, before anything
 * else, about whom it passes on (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
 *
 * Pure: bytes in, a verdict out.
 *
 * @module
 */
import { isIPv4, isIPv6 } from "node:net";
import type { Address } from "./address.ts";

/** Most bytes of a header, of either version: what comes after the addresses (TLVs) is skipped, but not for ever. */
export const MAX_PROXY_HEADER = 4096;

/** What the first bytes of a connection are. */
export type ProxyHeader =
  /** The beginning of a header, or of something that begins like one. */
  | { readonly kind: "incomplete" }
  /** No header. */
  | { readonly kind: "none" }
  /** A header, and whom it names: `null` for the proxy itself (`LOCAL`, `UNKNOWN`). */
  | { readonly kind: "header"; readonly length: number; readonly ends: ProxiedEnds | null }
  /** It begins as a header, and is none. */
  | { readonly kind: "malformed"; readonly reason: string };

/** Both ends of the connection that was passed on. */
export interface ProxiedEnds {
  readonly source: Address;
  readonly destination: Address;
}

const SIGNATURE_V1 = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20];
const SIGNATURE_V2 = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Most bytes of a line of version 1 with its CRLF. */
const MAX_LINE = 107;
const FIXED_V2 = 16;

const INCOMPLETE: ProxyHeader = { kind: "incomplete" };
const NONE: ProxyHeader = { kind: "none" };

/** Looks at the first bytes of a connection; to be called again with more while it says `incomplete`. */
export function parseProxyHeader(bytes: Uint8Array): ProxyHeader {
  const v1 = begins(bytes, SIGNATURE_V1);
  if (v1 === "yes") return parseLine(bytes);
  const v2 = begins(bytes, SIGNATURE_V2);
  if (v2 === "yes") return parseBinary(bytes);
  return v1 === "maybe" || v2 === "maybe" ? INCOMPLETE : NONE;
}

function begins(bytes: Uint8Array, signature: readonly number[]): "yes" | "no" | "maybe" {
  const length = Math.min(bytes.length, signature.length);
  for (let i = 0; i < length; i++) if (bytes[i] !== signature[i]) return "no";
  return length === signature.length ? "yes" : "maybe";
}

function malformed(reason: string): ProxyHeader {
  return { kind: "malformed", reason };
}

function parseLine(bytes: Uint8Array): ProxyHeader {
  const end = bytes.subarray(0, MAX_LINE).indexOf(0x0a);
  if (end === -1) {
    return bytes.length < MAX_LINE ? INCOMPLETE : malformed(`the line is over ${MAX_LINE} bytes`);
  }
  if (bytes[end - 1] !== 0x0d) return malformed("the line does not end with CRLF");
  const length = end + 1;
  const line = String.fromCharCode(...bytes.subarray(0, end - 1));
  // What follows UNKNOWN means nothing, whatever it is.
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN ")) {
    return { kind: "header", length, ends: null };
  }
  const parts = line.split(" ");
  const [, family, from, to, fromPort, toPort] = parts;
  if (parts.length !== 6) return malformed("the line has not six words");
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isPlainIPv6 : null;
  if (isAddress === null) return malformed("the family is neither TCP4, TCP6 nor UNKNOWN");
  if (!isAddress(from!) || !isAddress(to!)) return malformed(`an address is not of ${family}`);
  const ports = [readPort(fromPort!), readPort(toPort!)];
  if (ports.includes(-1)) return malformed("a port is not a number up to 65535");
  return {
    kind: "header",
    length,
    ends: {
      source: { kind: "tcp", host: from!, port: ports[0]! },
      destination: { kind: "tcp", host: to!, port: ports[1]! },
    },
  };
}

/** Without a zone, which means nothing on another machine. */
function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes("%");
}

function readPort(text: string): number {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : -1;
}

function parseBinary(bytes: Uint8Array): ProxyHeader {
  const versionAndCommand = bytes[12];
  if (versionAndCommand === undefined) return INCOMPLETE;
  if (versionAndCommand >> 4 !== 2) return malformed("the version is not 2");
  const command = versionAndCommand & 15;
  if (command > 1) return malformed("the command is neither LOCAL nor PROXY");
  if (bytes.length < FIXED_V2) return INCOMPLETE;
  const size = bytes[14]! << 8 | bytes[15]!;
  const length = FIXED_V2 + size;
  if (length > MAX_PROXY_HEADER) return malformed(`it is over ${MAX_PROXY_HEADER} bytes`);
  if (bytes.length < length) return INCOMPLETE;
  // A receiver must take LOCAL whatever the family says, and skip the rest.
  if (command === 0) return { kind: "header", length, ends: null };
  const body = bytes.subarray(FIXED_V2, length);
  const family = bytes[13]!;
  const reader = FAMILIES.get(family);
  if (reader === undefined) {
    return malformed(`the family 0x${family.toString(16).padStart(2, "0")} is not known`);
  }
  if (body.length < reader.size) return malformed("it is too short for its addresses");
  if (!tlvsFit(body.subarray(reader.size))) {
    return malformed("what follows the addresses is cut off");
  }
  return { kind: "header", length, ends: reader.read(body) };
}

interface FamilyReader {
  /** Bytes of both addresses with their ports. */
  readonly size: number;
  read(body: Uint8Array): ProxiedEnds | null;
}

/** By the byte of family and protocol. Datagrams are not passed on over a connection: only UNSPEC and streams. */
const FAMILIES: ReadonlyMap<number, FamilyReader> = new Map<number, FamilyReader>([
  [0x00, { size: 0, read: () => null }],
  [0x11, { size: 12, read: (body) => tcpEnds(body, 4, ipv4Text) }],
  [0x21, { size: 36, read: (body) => tcpEnds(body, 16, ipv6Text) }],
  [0x31, {
    size: 216,
    read: (body) => ({
      source: { kind: "unix", path: pathText(body.subarray(0, 108)) },
      destination: { kind: "unix", path: pathText(body.subarray(108, 216)) },
    }),
  }],
]);

function tcpEnds(
  body: Uint8Array,
  width: number,
  text: (bytes: Uint8Array) => string,
): ProxiedEnds {
  const port = (at: number) => body[at]! << 8 | body[at + 1]!;
  return {
    source: { kind: "tcp", host: text(body.subarray(0, width)), port: port(2 * width) },
    destination: {
      kind: "tcp",
      host: text(body.subarray(width, 2 * width)),
      port: port(2 * width + 2),
    },
  };
}

function ipv4Text(bytes: Uint8Array): string {
  return bytes.join(".");
}

/** RFC 5952: lower case, no leading zeros, the longest run of zeros cut; mapped IPv4 as IPv4. */
function ipv6Text(bytes: Uint8Array): string {
  if (bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255) {
    return ipv4Text(bytes.subarray(12));
  }
  const groups = Array.from(
    { length: 8 },
    (_, i) => (bytes[2 * i]! << 8 | bytes[2 * i + 1]!).toString(16),
  );
  let start = -1;
  let run = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === "0") end++;
    if (end - i > run) {
      start = i;
      run = end - i;
    }
  }
  if (start === -1) return groups.join(":");
  return `${groups.slice(0, start).join(":")}::${groups.slice(start + run).join(":")}`;
}

function pathText(bytes: Uint8Array): string {
  // An abstract name begins with NUL; any other ends with it.
  const end = bytes.indexOf(0, 1);
  const path = String.fromCharCode(...(end === -1 ? bytes : bytes.subarray(0, end)));
  return path === "\0" ? "" : path;
}

/** Whether the TLVs fill the rest exactly. What they say is skipped. */
function tlvsFit(rest: Uint8Array): boolean {
  let at = 0;
  while (at < rest.length) {
    if (at + 3 > rest.length) return false;
    at += 3 + (rest[at + 1]! << 8 | rest[at + 2]!);
  }
  return at === rest.length;
}
