/**
 * Which engine carries the connections of a clear-text listener.
 *
 * @module
 */
import { isIP } from "node:net";
import type { Address } from "../transport/address.ts";
import type { SocketEngine } from "../transport/socket.ts";
import { libcAvailable } from "../transport/libc.ts";
import { handleEngineAvailable } from "../transport/native_handle.ts";

/** The part of a listener that decides. */
export interface EngineWish {
  readonly engine: SocketEngine | "auto";
  readonly address: Address;
  readonly tls?: unknown;
  readonly proxy_protocol?: unknown;
}

/** What engines `handle` and `epoll` cannot do for a listener, in words that follow "because of"; `null`: they can. */
export function engineObstacle(
  { address, tls, proxy_protocol: proxy }: Omit<EngineWish, "engine">,
): string | null {
  if (address.kind === "unix") return "the unix socket";
  if (tls !== undefined) return "tls";
  if (proxy !== undefined) return "proxy_protocol";
  return isIP(address.host) === 0 ? "the host name, which is no IP address" : null;
}

/** What `auto` depends on beside the listener. */
export interface EngineSurroundings {
  /** The listeners of the services that it serves, itself among them. */
  readonly siblings: readonly EngineWish[];
  /** Whether a plugin runs in the workers of these services themselves. */
  readonly inline: boolean;
  /** Whether the program becomes another user. */
  readonly changesUser: boolean;
}

/**
 * The engine that a listener is to have. Where the runtime has no native handles, that is `deno` for whom they were
 * meant, and so it is for `auto` where handles could not share an accept queue; whether `epoll` can work is found out
 * when it is needed.
 *
 * With `auto` nobody gets the right `ffi` who was not known when it was given to the program: workers in which plugins
 * run inline do without. And a worker does not wait in two ways: where the runtime has to carry one listener of a
 * service, its own loop waits for all of them.
 */
export function socketEngine(listener: EngineWish, around: EngineSurroundings): SocketEngine {
  const { engine } = listener;
  if (engine === "deno" || engineObstacle(listener) !== null) return "deno";
  if (engine === "epoll") return "epoll";
  if (engine === "auto") {
    if (!libcAvailable()) return "deno";
    if (!around.changesUser && !around.inline && around.siblings.every(mayHaveEpoll)) {
      return "epoll";
    }
  }
  return handleEngineAvailable() ? "handle" : "deno";
}

function mayHaveEpoll(sibling: EngineWish): boolean {
  return (sibling.engine === "auto" || sibling.engine === "epoll") &&
    engineObstacle(sibling) === null;
}
