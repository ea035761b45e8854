/**
 * What the runtime has no call for, done to sockets of this process through libc: switching Nagle's algorithm off on a
 * listening socket, and cutting a connection whose close does not close it.
 *
 * Sockets are found by their addresses: `/proc/net/tcp` has the inode of each, `/proc/self/fd` the descriptor of an
 * inode. It is for the thread that may load libraries, which is not one that serves.
 *
 * @module
 */
import type { TcpAddress } from "./address.ts";
import { openLibc } from "./libc.ts";
import { descriptorsOf, endText, inodeOf, LISTENING, readTable } from "./socket_table.ts";

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

/** Sockets of this process, by way of libc. */
export class KernelSockets {
  readonly #libc: Deno.DynamicLibrary<typeof SYMBOLS>;

  private constructor(libc: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#libc = libc;
  }

  /** Loads libc; `null` where that is not allowed or not possible. */
  static load(): KernelSockets | null {
    const libc = openLibc(SYMBOLS);
    return libc === null ? null : new KernelSockets(libc);
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
    for (const descriptor of descriptorsOf(inodes).keys()) {
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
    for (const [descriptor, inode] of descriptorsOf(inodes)) {
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
}
