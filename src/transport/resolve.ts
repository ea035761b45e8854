/**
 * Host names to IP addresses, remembered for the whole thread.
 *
 * @module
 */
import { nameSource } from "./name_source.ts";
import { HostResolver, type NameSource, type NameTable, type ResolveOptions } from "./resolver.ts";

let usual: HostResolver | undefined;

/** The resolver of this thread: hosts file, DNS, system, with the usual bounds. */
export function hostResolver(): HostResolver {
  return usual ??= new HostResolver({ source: nameSource() });
}

/**
 * Has this thread ask these name servers in place of the system, after the hosts file. What it remembers is forgotten.
 *
 * @param servers As `ip` or `ip:port`; none: those of the system, and the system itself.
 */
export function useNameServers(servers: readonly string[]): void {
  usual = servers.length === 0 ? undefined : new HostResolver({ source: hostSource(servers) });
}

/** Where this program takes the addresses of names from; see {@linkcode useNameServers}. */
export function hostSource(servers: readonly string[]): NameSource {
  return servers.length === 0 ? nameSource() : nameSource({ servers, system: false });
}

/**
 * Finds all addresses of a host. An IP literal is its own address, and so is a name that this thread may connect to
 * but not look up.
 *
 * @throws {ProxyError} `dns_error`, `dns_timeout`, or what the signal gives as its reason.
 */
export async function resolveHost(host: string, options: ResolveOptions): Promise<string[]> {
  return [...await hostResolver().resolve(host, options)];
}

/** Names that this thread was told about. */
const told = new Set<string>();

/**
 * Takes what somebody else has found out about names, and keeps finding out.
 *
 * @param whole Whether names that are not among them are looked up here again.
 */
export function learnNames(names: NameTable, whole: boolean): void {
  const resolver = hostResolver();
  for (const [host, addresses] of Object.entries(names)) {
    told.add(host);
    resolver.put(host, addresses);
  }
  if (!whole) return;
  for (const host of told) {
    if (Object.hasOwn(names, host)) continue;
    told.delete(host);
    resolver.put(host, []);
  }
}
