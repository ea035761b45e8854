/**
 * What lies behind the names of upstreams when the program starts, so that service workers may connect to any of
 * several addresses and not only to whichever the runtime picks for a name.
 *
 * A name that leads elsewhere later is still reached: by the right to the name itself, which the runtime then looks up.
 *
 * @module
 */
import { getServers } from "node:dns";
import { isIP } from "node:net";
import type { Config } from "../config/types.ts";
import type { TcpAddress } from "../transport/address.ts";
import { formatAddress } from "../transport/address.ts";
import { resolveHost } from "../transport/resolve.ts";

/** How long one look-up may take before the workers start without its answer, in milliseconds. */
const LOOKUP_TIMEOUT = 2_000;
/** Where a system keeps names and name servers. */
const NAME_FILES = ["/etc/hosts", "/etc/resolv.conf"];
/** Names that are looked up at the start; those beyond are reached by name. */
const MOST_NAMES = 256;

/** What a service worker needs to look the names of its upstreams up, and to connect to what it finds. */
export interface UpstreamReach {
  readonly net: readonly string[];
  readonly read: readonly string[];
}

const NOTHING: UpstreamReach = { net: [], read: [] };

/** Rights for the addresses behind the names of upstreams, and for finding them again. */
export async function upstreamReach(config: Config): Promise<UpstreamReach> {
  const named = new Map<string, TcpAddress>();
  for (const { endpoints } of config.upstreams) {
    for (const { address } of endpoints) {
      if (address.kind === "tcp" && isIP(address.host) === 0 && named.size < MOST_NAMES) {
        named.set(formatAddress(address), address);
      }
    }
  }
  if (named.size === 0) return NOTHING;
  const found = await Promise.all([...named.values()].map(async ({ host, port }) => {
    try {
      const hosts = await resolveHost(host, { timeout: LOOKUP_TIMEOUT });
      return hosts.map((one) => formatAddress({ kind: "tcp", host: one, port }));
    } catch {
      // Requests will find out, and say so.
      return [];
    }
  }));
  const servers = getServers().map((server) =>
    isIP(server) === 0 ? server : formatAddress({ kind: "tcp", host: server, port: 53 })
  );
  // Looking a name up asks for the right to the name as such, with whatever port.
  const names = [...named.values()].map(({ host }) => host);
  return { net: [...new Set([...found.flat(), ...names, ...servers])], read: NAME_FILES };
}
