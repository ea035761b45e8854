/**
 * Which engine carries the connections of a clear-text listener.
 *
 * @module
 */
import { isIP } from "node:net";
import type { Address } from "../transport/address.ts";
import { handleEngineAvailable } from "../transport/native_handle.ts";

/** The part of a listener that decides. */
export interface EngineWish {
  readonly engine: "deno" | "handle" | "auto";
  readonly address: Address;
  readonly tls?: unknown;
  readonly proxy_protocol?: unknown;
}

/** What engine `handle` cannot do for a listener, in words that follow "because of"; `null`: it can serve. */
export function handleObstacle(
  { address, tls, proxy_protocol: proxy }: Omit<EngineWish, "engine">,
): string | null {
  if (address.kind === "unix") return "the unix socket";
  if (tls !== undefined) return "tls";
  if (proxy !== undefined) return "proxy_protocol";
  return isIP(address.host) === 0 ? "the host name, which is no IP address" : null;
}

/** The engine that a listener gets. Where the runtime has no native handles that is always `deno`. */
export function socketEngine(listener: EngineWish): "deno" | "handle" {
  return listener.engine !== "deno" && handleObstacle(listener) === null && handleEngineAvailable()
    ? "handle"
    : "deno";
}
