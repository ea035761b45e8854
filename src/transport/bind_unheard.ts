/**
 * Binds a socket that the runtime of this thread is to hear nothing of.
 *
 * The runtime watches each socket that it listens on from the beginning, whether anybody accepts or not. So a thread
 * that only holds a port would be woken by every connection that others accept, and find nothing to do.
 *
 * @module
 */
import { watchedBy } from "./epoll/left_behind.ts";
import { runtimeLoop } from "./epoll/runtime_loop.ts";
import { type SystemCalls, systemCalls } from "./epoll/system_calls.ts";
import { libcAvailable } from "./libc.ts";

const EPOLL_CTL_DEL = 2;
const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;

/** By which the runtime of this thread waits: that stays the same. */
let loop: number | null | undefined;

/**
 * Binds by `bind`, and makes the runtime deaf to what listens then, as far as the system and the rights allow that:
 * Linux, and `ffi`. Nobody may accept on it in this thread. Closing it needs nothing special.
 */
export function bindUnheard<Bound>(bind: () => Bound): Bound {
  const calls = libcAvailable() ? systemCalls() : null;
  if (calls !== null && loop === undefined) loop = runtimeLoop(calls);
  const descriptor = loop ?? null;
  if (calls === null || descriptor === null) return bind();
  const heard = new Set(watchedBy({ descriptor }).map((one) => one.inode));
  const bound = bind();
  for (const one of watchedBy({ descriptor })) {
    if (heard.has(one.inode) || !listens(calls, one.descriptor)) continue;
    calls.epoll_ctl(descriptor, EPOLL_CTL_DEL, one.descriptor, new Uint8Array(16));
  }
  return bound;
}

function listens(calls: SystemCalls, descriptor: number): boolean {
  const value = new Uint8Array(4);
  const length = new Uint8Array(new Uint32Array([value.length]).buffer);
  calls.getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, value, length);
  return value.some((byte) => byte !== 0);
}
