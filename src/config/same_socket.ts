/**
 * Whether two addresses can be listened on side by side.
 *
 * @module
 */
import { parseAddress } from "../transport/address.ts";

/** Whether binding both would fail: the same, or the same port with one on all interfaces of the family. */
export function sameSocket(written: string, b: ReturnType<typeof parseAddress>): boolean {
  const a = parseAddress(written);
  if (typeof a === "string" || typeof b === "string") return false;
  if (a.kind === "unix" || b.kind === "unix") {
    return a.kind === "unix" && b.kind === "unix" && a.path === b.path;
  }
  if (a.port !== b.port) return false;
  if (a.host === b.host) return true;
  const v6 = a.host.includes(":");
  if (v6 !== b.host.includes(":")) return false;
  return v6 ? a.host === "::" || b.host === "::" : a.host === "0.0.0.0" || b.host === "0.0.0.0";
}
