/**
 * Addresses whose path was written relative to the config file.
 *
 * @module
 */
import type { Address } from "../transport/address.ts";

/** Makes the path of a unix socket absolute; an abstract one has no folder. */
export function absolute(address: Address, resolve: (path: string) => string): Address {
  if (address.kind === "tcp" || address.path.startsWith("\0")) return address;
  return { kind: "unix", path: resolve(address.path) };
}
