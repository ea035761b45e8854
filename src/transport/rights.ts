/**
 * What this thread may reach. A service worker may reach the upstreams of its config by the names that they have
 * there, and often not by the addresses behind those names.
 *
 * @module
 */
import { formatAddress } from "./address.ts";

/** Whether this thread may reach whatever it likes. */
export function mayReachAll(): boolean {
  return Deno.permissions.querySync({ name: "net" }).state === "granted";
}

/** Whether this thread may connect to a port of a host, which is a name or an IP address. */
export function mayReach(host: string, port: number): boolean {
  return Deno.permissions.querySync({
    name: "net",
    host: formatAddress({ kind: "tcp", host, port }),
  }).state === "granted";
}
