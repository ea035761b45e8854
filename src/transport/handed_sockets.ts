/**
 * Listening sockets that go from one process to another, come from a service manager, or are lent to native handles.
 *
 * The kernel has one accept queue for a listening socket, whichever processes hold it: who waits in it is lost only
 * when the last one lets go. A process that starts inherits descriptors that are not closed on exec. The runtime cannot
 * listen on a descriptor, so it is given a socket of its own, on an address that nobody else uses, and that one is then
 * replaced by the inherited one, below the runtime, before anybody accepts on it. Service workers find it by the
 * address that it was bound to.
 *
 * @module
 */
import { formatAddress, type TcpAddress } from "./address.ts";
import { openLibc } from "./libc.ts";
import { bindTcp } from "./listen.ts";
import { descriptorsOf, endText, inodeOf, LISTENING, readTable } from "./socket_table.ts";

const SYMBOLS = {
  dup: { parameters: ["i32"], result: "i32" },
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const O_CLOEXEC = 0o2000000;
const F_DUPFD_CLOEXEC = 1030;
const O_NONBLOCK = 0o4000;
const F_GETFL = 3;
const F_SETFL = 4;
/** Stands for inherited sockets. Nobody configures it, and nothing is ever received on it. */
const STAND_IN = "127.86.76.1";

/** An inherited socket that listens. */
export interface AdoptedSocket {
  /** By which it is listened on in this process. */
  readonly bound: TcpAddress;
  close(): void;
}

/** Gives listening sockets away and takes them. */
export class HandedSockets {
  readonly #libc: Deno.DynamicLibrary<typeof SYMBOLS>;

  private constructor(libc: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#libc = libc;
  }

  /** Loads libc; `null` where that is not allowed or not possible. */
  static load(): HandedSockets | null {
    const libc = openLibc(SYMBOLS);
    return libc === null ? null : new HandedSockets(libc);
  }

  /**
   * A descriptor of a socket that listens here, which children inherit. It is to be closed as soon as they have.
   *
   * @throws {Error} If nobody listens there.
   */
  inheritable(address: TcpAddress): number {
    return this.#copy(address, (descriptor) => this.#libc.symbols.dup(descriptor));
  }

  /**
   * Another descriptor of a socket that listens here, for this process alone. Whoever gets it has to close it.
   *
   * @throws {Error} If nobody listens there, or there are no descriptors left.
   */
  lend(address: TcpAddress): number {
    return this.#copy(
      address,
      (descriptor) => this.#libc.symbols.fcntl(descriptor, F_DUPFD_CLOEXEC, 0),
    );
  }

  #copy(address: TcpAddress, duplicate: (descriptor: number) => number): number {
    const end = endText(address);
    const inodes = new Set<string>();
    for (const { local, state, inode } of readTable()) {
      if (state === LISTENING && local === end) inodes.add(inode);
    }
    for (const [descriptor, inode] of descriptorsOf(inodes)) {
      const copy = duplicate(descriptor);
      if (copy < 0) continue;
      if (inodeOf(copy) === inode) return copy;
      this.close(copy);
    }
    throw new Error(
      `no socket of this process listens on ${
        formatAddress(address)
      }, or no descriptor is left for it`,
    );
  }

  /** Where an inherited socket listens: as the kernel writes it, to compare; `null` if it is none that listens. */
  listensOn(descriptor: number): string | null {
    const inode = inodeOf(descriptor);
    if (inode === null) return null;
    for (const row of readTable()) {
      if (row.inode === inode && row.state === LISTENING) return row.local;
    }
    return null;
  }

  /**
   * Listens on an inherited socket. The descriptor is used up.
   *
   * @throws {Error} If that cannot be done.
   */
  adopt(descriptor: number): AdoptedSocket {
    const { dup3, fcntl } = this.#libc.symbols;
    const inode = inodeOf(descriptor);
    // Service managers hand over sockets that block, and a thread that accepts on one would.
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL, 0) | O_NONBLOCK);
    const listener = bindTcp(STAND_IN, 0, 1);
    const bound: TcpAddress = {
      kind: "tcp",
      host: STAND_IN,
      port: (listener.addr as Deno.NetAddr).port,
    };
    try {
      const own = this.inheritable(bound);
      const end = inodeOf(own);
      this.close(own);
      for (const found of descriptorsOf(new Set([end!])).keys()) {
        dup3(descriptor, found, O_CLOEXEC);
      }
      // The one that was inherited, and the one that stood in for it.
      if (inode === null || descriptorsOf(new Set([inode])).size < 2) {
        throw new Error(`descriptor ${descriptor} is no socket that can be taken over`);
      }
    } catch (error) {
      listener.close();
      throw error;
    } finally {
      this.close(descriptor);
    }
    return { bound, close: () => listener.close() };
  }

  /** Closes a descriptor. */
  close(descriptor: number): void {
    this.#libc.symbols.close(descriptor);
  }

  /** Lets go of libc. */
  unload(): void {
    this.#libc.close();
  }
}
