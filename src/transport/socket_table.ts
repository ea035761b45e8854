/**
 * The TCP sockets of this process as the kernel shows them: `/proc/net/tcp` has the inode of each, `/proc/self/fd` the
 * descriptors of an inode.
 *
 * @module
 */
import { endianness } from "node:os";
import ipaddr from "ipaddr.js";
import type { TcpAddress } from "./address.ts";

/** The state of a socket that listens. */
export const LISTENING: string = "0A";

/** The descriptors of sockets, with the inode of each. */
export function descriptorsOf(inodes: ReadonlySet<string>): Map<number, string> {
  const found = new Map<number, string>();
  if (inodes.size === 0) return found;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    const inode = inodeOf(Number(name));
    if (inode !== null && inodes.has(inode)) found.set(Number(name), inode);
  }
  return found;
}

/** A socket. */
export interface SocketRow {
  /** As {@linkcode endText} writes it. */
  readonly local: string;
  readonly localPort: number;
  readonly remote: string;
  readonly state: string;
  readonly inode: string;
}

/** The state of what is left of a connection that is over: it is in no process. */
const TIME_WAIT = "06";
/** Hexadecimal digits of an address in each table. */
const TABLES = [["/proc/self/net/tcp", 8], ["/proc/self/net/tcp6", 32]] as const;

/** The TCP sockets of this network namespace that a process has: `sl: local remote state … inode`. */
export function* readTable(): Generator<SocketRow> {
  for (const [file, digits] of TABLES) {
    let text: string;
    try {
      text = Deno.readTextFileSync(file);
    } catch {
      // A machine without IPv6 has no such table.
      continue;
    }
    // Nearly all of it may be what is left of connections, tens of thousands of rows: nothing is made of those.
    const toState = 2 * (digits + ":0050 ".length);
    let next = text.indexOf("\n") + 1;
    while (next > 0 && next < text.length) {
      const at = text.indexOf(": ", next) + 2;
      const end = text.indexOf("\n", at);
      next = end + 1;
      if (text.startsWith(TIME_WAIT, at + toState)) continue;
      const [local, remote, state, , , , , , inode] = text.slice(at, end).split(/\s+/);
      if (inode === undefined || inode === "0") continue;
      yield {
        local: plain(local!),
        localPort: parseInt(local!.slice(local!.indexOf(":") + 1), 16),
        remote: plain(remote!),
        state: state!,
        inode,
      };
    }
  }
}

const MAPPED = endianness() === "LE" ? "0000000000000000FFFF0000" : "00000000000000000000FFFF";

/** An end as the tables write it, IPv4 over IPv6 as IPv4. */
function plain(end: string): string {
  return end.startsWith(MAPPED) ? end.slice(MAPPED.length) : end;
}

/** An address in the order of bytes in which the kernel prints it: words of four as the machine reads them. */
export function endText({ host, port }: TcpAddress): string {
  const bytes = ipaddr.process(host.replace(/%.*$/, "")).toByteArray();
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    const word = bytes.slice(at, at + 4);
    if (endianness() === "LE") word.reverse();
    text += word.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return `${text}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}

/** The inode of the socket behind a descriptor; `null` if it is none. */
export function inodeOf(descriptor: number): string | null {
  try {
    return /^socket:\[(\d+)\]$/.exec(Deno.readLinkSync(`/proc/self/fd/${descriptor}`))?.[1] ?? null;
  } catch {
    // Closed in the meantime.
    return null;
  }
}

/** The address that {@linkcode endText} has written. */
export function endAddress(text: string): TcpAddress {
  const [words, port] = text.split(":") as [string, string];
  const bytes: number[] = [];
  for (let at = 0; at < words.length; at += 8) {
    const word = [0, 2, 4, 6].map((i) => parseInt(words.slice(at + i, at + i + 2), 16));
    bytes.push(...(endianness() === "LE" ? word.reverse() : word));
  }
  return { kind: "tcp", host: ipaddr.fromByteArray(bytes).toString(), port: parseInt(port, 16) };
}
