/**
 * The calls of Linux that engine `epoll` is made of, through libc.
 *
 * Lengths are passed as 32 bits: calls with 64 bits take a slow way of the runtime, and no buffer is as long.
 *
 * @module
 */

const SYMBOLS = {
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  /** The same on a thread that has nothing else to do, and that may outlive this one. */
  epoll_wait_elsewhere: {
    name: "epoll_wait",
    parameters: ["i32", "pointer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  /** Number of descriptors as 32 bits; seconds and nanoseconds, 64 bits each; no mask of signals. */
  ppoll: { parameters: ["buffer", "u32", "buffer", "pointer"], result: "i32" },
  sched_yield: { parameters: [], result: "i32" },
  accept4: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  malloc: { parameters: ["u32"], result: "pointer" },
  gettid: { parameters: [], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

/** Calls return `-1` if they fail; {@linkcode SystemCalls.errno} says why, until the next one. */
export type SystemCalls =
  & Omit<Deno.DynamicLibrary<typeof SYMBOLS>["symbols"], "__errno_location">
  & {
    /** Why the last call has failed. */
    readonly errno: () => number;
  };

let opened: SystemCalls | null | undefined;

/** The calls, or `null` where the system has no such or this thread may not load libraries. */
export function systemCalls(): SystemCalls | null {
  if (opened === undefined) opened = open();
  return opened;
}

/** Whether engine `epoll` can work here: on Linux, with the right `ffi`. */
export function epollAvailable(): boolean {
  return Deno.build.os === "linux" &&
    Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

function open(): SystemCalls | null {
  if (!epollAvailable()) return null;
  // glibc and musl, by the name that both answer to.
  for (const name of ["libc.so.6", "libc.so"]) {
    try {
      const { __errno_location: errnoLocation, ...calls } = Deno.dlopen(name, SYMBOLS).symbols;
      // Each thread has its own, and this one stays where it is.
      const place = Deno.UnsafePointerView.getArrayBuffer(errnoLocation()!, 4);
      const errno = new Int32Array(place);
      return { ...calls, errno: () => errno[0]! };
    } catch {
      // Not this one.
    }
  }
  return null;
}

/** Numbers of errors, the same on all processors that the runtime is built for. */
export const ERRNO = {
  EINTR: 4,
  EAGAIN: 11,
  ENFILE: 23,
  EMFILE: 24,
  EINPROGRESS: 115,
} as const;

/** Names of the errors that are told apart, by number. */
const NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  4: "EINTR",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  28: "ENOSPC",
  32: "EPIPE",
  98: "EADDRINUSE",
  99: "EADDRNOTAVAIL",
  100: "ENETDOWN",
  101: "ENETUNREACH",
  103: "ECONNABORTED",
  104: "ECONNRESET",
  105: "ENOBUFS",
  107: "ENOTCONN",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  112: "EHOSTDOWN",
  113: "EHOSTUNREACH",
  115: "EINPROGRESS",
};

/** An error as the runtime would have made it, from its number. */
export function systemError(number: number, call: string): Error & { code: string } {
  const code = NAMES[number] ?? `errno ${number}`;
  return Object.assign(new Error(`${call} ${code}`), { code });
}
