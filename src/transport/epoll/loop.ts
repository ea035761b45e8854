/**
 * The one {@linkcode EpollLoop} of a thread.
 *
 * @module
 */
import { EpollLoop } from "./event_loop.ts";
import { systemCalls } from "./system_calls.ts";

let made: EpollLoop | null | undefined;

/** The loop of this thread, made when it is first needed; `null` where engine `epoll` cannot work. */
export function epollLoop(): EpollLoop | null {
  if (made === undefined) {
    const calls = systemCalls();
    made = calls === null ? null : new EpollLoop(calls);
  }
  return made;
}
