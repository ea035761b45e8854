/**
 * Host names to IP addresses, remembered for the whole thread.
 *
 * @module
 */
import { nameSource } from "./name_source.ts";
import { HostResolver, type ResolveOptions } from "./resolver.ts";

let usual: HostResolver | undefined;

/** The resolver of this thread: hosts file, DNS, system, with the usual bounds. */
export function hostResolver(): HostResolver {
  return usual ??= new HostResolver({ source: nameSource() });
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
