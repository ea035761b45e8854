/**
 * What the runtime has no call for, done to sockets of this process through libc: switching Nagle's algorithm off on a
 * listening socket, and cutting a connection whose close does not close it.
 *
 * Sockets are found by their addresses: `/proc/net/tcp` has the inode of each, `/proc/self/fd` the descriptor of an
 * inode. It is for the thread that may load libraries, which is not one that serves.
 *
 * @module
 */
import { endianness } from "node:os";
import ipaddr from "ipaddr.js";
import type { TcpAddress } from "./address.ts";

/** Both ends of a connection. */
export interface ConnectionEnds {
  readonly local: TcpAddress;
  readonly remote: TcpAddress;
}

const SYMBOLS = {
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SHUT_RDWR = 2;
const LISTENING = "0A";

/** Whether this thread may do what {@linkcode KernelSockets} does, and the system has it. */
export function kernelSocketsAvailable(): boolean {
  return Deno.build.os === "linux" &&
    Deno.permissions.querySync({ name: "ffi" }).state === "granted" &&
    Deno.permissions.querySync({ name: "read", path: "/proc" }).state === "granted";
}

/** Sockets of this process, by way of libc. */
export class KernelSockets {
  readonly #libc: Deno.DynamicLibrary<typeof SYMBOLS>;

  private constructor(libc: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#libc = libc;
  }

  /** Loads libc; `null` where that is not allowed or not possible. */
  static load(): KernelSockets | null {
    if (!kernelSocketsAvailable()) return null;
    // glibc and musl, by the name that both answer to.
    for (const name of ["libc.so.6", "libc.so"]) {
      try {
        return new KernelSockets(Deno.dlopen(name, SYMBOLS));
      } catch {
        // Not this one.
      }
    }
    return null;
  }

  /**
   * Switches Nagle's algorithm off on a listening socket: what it accepts inherits that.
   *
   * @returns Whether that was done.
   */
  noDelay(address: TcpAddress): boolean {
    const inodes = new Set<string>();
    for (const row of readTable()) {
      if (row.state === LISTENING && row.localPort === address.port) inodes.add(row.inode);
    }
    const on = new Uint8Array(new Int32Array([1]).buffer);
    let done = false;
    for (const descriptor of this.#descriptors(inodes).keys()) {
      done = this.#libc.symbols.setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, on, 4) === 0 ||
        done;
    }
    return done;
  }

  /**
   * Cuts connections, both directions at once, so that whoever still holds one in this process lets go of it.
   *
   * @returns How many were there to be cut.
   */
  cut(connections: readonly ConnectionEnds[]): number {
    const wanted = new Set(
      connections.map(({ local, remote }) => `${endText(local)} ${endText(remote)}`),
    );
    const inodes = new Set<string>();
    for (const { local, remote, inode } of readTable()) {
      if (wanted.has(`${local} ${remote}`)) inodes.add(inode);
    }
    if (inodes.size === 0) return 0;
    let count = 0;
    const { dup, close, shutdown } = this.#libc.symbols;
    for (const [descriptor, inode] of this.#descriptors(inodes)) {
      // Its number may belong to another socket by now. A copy stays what it is while it is looked at.
      const copy = dup(descriptor);
      if (copy < 0) continue;
      if (inodeOf(copy) === inode) {
        shutdown(copy, SHUT_RDWR);
        count++;
      }
      close(copy);
    }
    return count;
  }

  /** Lets go of libc. */
  close(): void {
    this.#libc.close();
  }

  #descriptors(inodes: ReadonlySet<string>): Map<number, string> {
    const found = new Map<number, string>();
    if (inodes.size === 0) return found;
    for (const { name } of Deno.readDirSync("/proc/self/fd")) {
      const inode = inodeOf(Number(name));
      if (inode !== null && inodes.has(inode)) found.set(Number(name), inode);
    }
    return found;
  }
}

interface Row {
  readonly local: string;
  readonly localPort: number;
  readonly remote: string;
  readonly state: string;
  readonly inode: string;
}

/** The TCP sockets of this network namespace: `sl local remote state … inode`. */
function* readTable(): Generator<Row> {
  for (const file of ["/proc/self/net/tcp", "/proc/self/net/tcp6"]) {
    let text: string;
    try {
      text = Deno.readTextFileSync(file);
    } catch {
      // A machine without IPv6 has no such table.
      continue;
    }
    for (const line of text.split("\n").slice(1)) {
      const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
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
function endText({ host, port }: TcpAddress): string {
  const bytes = ipaddr.process(host.replace(/%.*$/, "")).toByteArray();
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    const word = bytes.slice(at, at + 4);
    if (endianness() === "LE") word.reverse();
    text += word.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return `${text}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}

function inodeOf(descriptor: number): string | null {
  try {
    return /^socket:\[(\d+)\]$/.exec(Deno.readLinkSync(`/proc/self/fd/${descriptor}`))?.[1] ?? null;
  } catch {
    // Closed in the meantime.
    return null;
  }
}
