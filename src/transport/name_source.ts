/**
 * Where the addresses of a name come from: the hosts file, the DNS (which tells how long they hold), and last the
 * resolver of the system, which also knows search domains and whatever else the host is set up for.
 *
 * Where this thread may not look a name up, but may connect to it, the name is its own address: the runtime looks it
 * up when it connects.
 *
 * @module
 */
import { lookup, Resolver } from "node:dns";
import { HostsFile } from "./hosts_file.ts";
import { errorCode, reason } from "./io_error.ts";
import { dnsError, type NameSource } from "./resolver.ts";

/** Options of {@linkcode nameSource}. Times are milliseconds. */
export interface NameSourceOptions {
  /** Name servers as `ip` or `ip:port`; `null`: those of the system. Default `null`. */
  readonly servers?: readonly string[] | null;
  /** Whether the resolver of the system is asked when the DNS has no answer. Default `true`. */
  readonly system?: boolean;
  /** How long a name server has for its first answer; each further try doubles it. Default 1500. */
  readonly tryTimeout?: number;
  /** Tries. Default 2. */
  readonly tries?: number;
  /** How long the second family is waited for when the first has answered (RFC 8305 §3). Default 50. */
  readonly familyDelay?: number;
  /** Default: that of the system. */
  readonly hosts?: HostsFile;
  /** How long an entry of the hosts file holds. Default 10 000. */
  readonly hostsTtl?: number;
  /** How long an answer of the system's resolver holds, which does not say. Default 30 000. */
  readonly systemTtl?: number;
}

/** What one question came to. */
interface Reply {
  readonly addresses: readonly string[];
  /** Milliseconds. */
  readonly ttl: number;
  readonly error: unknown;
}

/**
 * Makes a source.
 *
 * @throws {Error} If the name servers cannot be used: malformed, or no right to choose them.
 */
export function nameSource(options: NameSourceOptions = {}): NameSource {
  const { hosts = new HostsFile(), hostsTtl = 10_000, systemTtl = 30_000 } = options;
  const { familyDelay = 50, system: mayAskSystem = true } = options;
  const resolver = dnsResolver(options);
  return async (host) => {
    const given = await hosts.find(host);
    if (given !== null) return { addresses: given, ttl: hostsTtl };
    // A name of one label means something only with the search domains, which are the system's.
    const failed = host.includes(".") || !mayAskSystem
      ? await askDns(resolver, host, familyDelay)
      : null;
    if (failed !== null && failed.addresses.length > 0) return failed;
    if (failed !== null && !mayAskSystem) throw failure(host, failed, failed);
    const system = await askSystem(host, systemTtl);
    if (system.addresses.length > 0) return system;
    if (errorCode(system.error) === "EPERM") return { addresses: [host], ttl: systemTtl };
    throw failure(host, failed, system);
  };
}

/**
 * A resolver with its own name servers and times.
 *
 * @throws {Error} If the name servers cannot be used.
 */
export function dnsResolver(options: NameSourceOptions): Resolver {
  const { servers = null, tryTimeout = 1_500, tries = 2 } = options;
  const resolver = new Resolver({ timeout: tryTimeout, tries });
  if (servers !== null) resolver.setServers([...servers]);
  return resolver;
}

/** Asks for both families at once; IPv6 comes first (RFC 6724 §2.1). */
async function askDns(resolver: Resolver, host: string, familyDelay: number): Promise<Reply> {
  const six = question(resolver, "resolve6", host);
  const four = question(resolver, "resolve4", host);
  const first = await Promise.race([six, four]);
  let late: ReturnType<typeof setTimeout> | undefined;
  const patience = first.addresses.length === 0 ? null : new Promise<null>((resolve) => {
    late = setTimeout(() => resolve(null), familyDelay);
  });
  const replies = await Promise.all(
    [six, four].map((one) => patience === null ? one : Promise.race([one, patience])),
  );
  clearTimeout(late);
  const good = replies.filter((reply) => reply !== null && reply.addresses.length > 0) as Reply[];
  if (good.length === 0) return replies.find((reply) => isTimeout(reply?.error)) ?? first;
  return {
    addresses: good.flatMap(({ addresses }) => addresses),
    ttl: Math.min(...good.map(({ ttl }) => ttl)),
    error: null,
  };
}

function question(
  resolver: Resolver,
  method: "resolve4" | "resolve6",
  host: string,
): Promise<Reply> {
  return new Promise((resolve) => {
    const failed = (error: unknown) => resolve({ addresses: [], ttl: 0, error });
    try {
      resolver[method](host, { ttl: true }, (error, records) => {
        if (error !== null && error !== undefined) return failed(error);
        resolve({
          addresses: records.map(({ address }) => address),
          ttl: 1000 * Math.min(...records.map(({ ttl }) => ttl)),
          error: null,
        });
      });
    } catch (error) {
      // What is no name at all is thrown.
      failed(error);
    }
  });
}

function askSystem(host: string, ttl: number): Promise<Reply> {
  return new Promise((resolve) => {
    lookup(host, { all: true, verbatim: true }, (error, found) => {
      resolve(
        error === null
          ? { addresses: found.map(({ address }) => address), ttl, error: null }
          : { addresses: [], ttl, error },
      );
    });
  });
}

function isTimeout(error: unknown): boolean {
  return errorCode(error) === "ETIMEOUT";
}

/** The system's word on names that the DNS could not be asked for says nothing about the DNS. */
function failure(host: string, dns: Reply | null, system: Reply): Error {
  const context = `Looking up "${host}"`;
  if (dns !== null && isTimeout(dns.error)) {
    return dnsError("dns_timeout", `${context}: no name server answers`, dns.error);
  }
  const { error } = system;
  const why = error === null
    ? "no address"
    : errorCode(error) === "ENOTFOUND"
    ? "no such host"
    : reason(error);
  return dnsError("dns_error", `${context}: ${why}`, error ?? undefined);
}
