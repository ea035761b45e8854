/**
 * Ends the sockets of a thread that is no more.
 *
 * The runtime closes what it has opened for a thread; descriptors that the thread got from the kernel itself stay open,
 * and clients would wait at them for good. What a loop has watched can be seen in `/proc`, and closed from another
 * thread, but not before the first has ended: until then it may close a descriptor, whose number is somebody else's
 * at once.
 *
 * @module
 */
import { openLibc } from "../libc.ts";
import { inodeOf } from "../socket_table.ts";

const SYMBOLS = {
  dup: { parameters: ["i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
} as const;

const SHUT_RDWR = 2;
const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;
const EPOLL_CTL_DEL = 2;

/** A thread's loop, as others see it. */
export interface LoopOfThread {
  /** Its descriptor. */
  readonly descriptor: number;
  /** The number that the system has given to the thread. */
  readonly thread: number;
}

/** Ends what threads have left behind. */
export class LeftBehind {
  readonly #libc: Deno.DynamicLibrary<typeof SYMBOLS>;

  private constructor(libc: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#libc = libc;
  }

  /** Loads libc; `null` where that is not allowed or not possible. */
  static load(): LeftBehind | null {
    const libc = openLibc(SYMBOLS);
    return libc === null ? null : new LeftBehind(libc);
  }

  /** Cuts the connections of a loop, and lets it hear no more of those that come. The thread may still run. */
  cut(loop: LoopOfThread): void {
    const { dup, shutdown, epoll_ctl: control, close } = this.#libc.symbols;
    for (const { descriptor, inode } of watchedBy(loop)) {
      // Its number may belong to something else by now. A copy stays what it is while it is looked at.
      const copy = dup(descriptor);
      if (copy < 0) continue;
      if (inodeOf(copy) === inode) {
        // Shutting a socket down on which others listen as well would end it for them, too.
        if (this.#listens(copy)) {
          control(loop.descriptor, EPOLL_CTL_DEL, descriptor, new Uint8Array(16));
        } else shutdown(copy, SHUT_RDWR);
      }
      close(copy);
    }
  }

  /**
   * Closes all that a loop has watched, and the loop, if its thread has ended.
   *
   * @returns Whether it has.
   */
  close(loop: LoopOfThread): boolean {
    if (isAlive(loop.thread)) return false;
    for (const { descriptor } of watchedBy(loop)) this.#libc.symbols.close(descriptor);
    this.#libc.symbols.close(loop.descriptor);
    return true;
  }

  /** Lets go of libc. */
  unload(): void {
    this.#libc.close();
  }

  #listens(descriptor: number): boolean {
    const value = new Uint8Array(4);
    const length = new Uint8Array(new Uint32Array([4]).buffer);
    this.#libc.symbols.getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, value, length);
    return value.some((byte) => byte !== 0);
  }
}

function isAlive(thread: number): boolean {
  try {
    Deno.statSync(`/proc/self/task/${thread}`);
    return true;
  } catch {
    return false;
  }
}

/** The sockets that a loop watches; not the loop of the runtime, which is none. */
export function watchedBy(
  { descriptor }: Pick<LoopOfThread, "descriptor">,
): { descriptor: number; inode: string }[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/self/fdinfo/${descriptor}`);
  } catch {
    return [];
  }
  const found = [...text.matchAll(/^tfd:\s+(\d+) .* ino:([0-9a-f]+)/gm)].map((match) => ({
    descriptor: Number(match[1]),
    inode: String(parseInt(match[2]!, 16)),
  }));
  return found.filter((one) => inodeOf(one.descriptor) === one.inode);
}
