/**
 * Questions to DNS servers: addresses with their time to live, and services.
 *
 * @module
 */
import { Resolver, type SrvRecord } from "node:dns";
import { isIP } from "node:net";
import { ProxyError } from "../../base/error.ts";
import { parseAddress } from "../../transport/address.ts";
import { errorCode, reason } from "../../transport/io_error.ts";
import type { Run } from "../health/bounded_run.ts";

/** Whom to ask. Plain data. */
export interface LookupConfig {
  /** Servers as `ip` or `ip:port`, `[v6]:port`; none: those of the system. */
  readonly servers: readonly string[];
  /** Milliseconds for one question to one server. */
  readonly queryTimeout: number;
  /** How often a question is asked before it has failed. */
  readonly tries: number;
}

/** Settings where nothing else is said. */
export const LOOKUP: LookupConfig = { servers: [], queryTimeout: 2_000, tries: 2 };

/** Kinds of addresses. */
export type Family = 4 | 6;

/** Addresses of a name. */
export interface FoundAddresses {
  readonly addresses: readonly string[];
  /** Milliseconds that they are good for. */
  readonly ttl: number;
}

/** A service as a server names it (RFC 2782). */
export interface FoundService {
  /** Host name; empty: the service is decidedly not to be had. */
  readonly target: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** Asks DNS servers. `/etc/hosts` does not count, except for what the resolver itself makes of it. */
export class Lookup {
  readonly #resolver: Resolver;

  /** @throws {ProxyError} `config_error` if a server is not an IP address with or without a port. */
  constructor(config: LookupConfig) {
    this.#resolver = new Resolver({ timeout: config.queryTimeout, tries: config.tries });
    for (const server of config.servers) refuseBad(server);
    if (config.servers.length > 0) this.#resolver.setServers([...config.servers]);
  }

  /**
   * Asks for the addresses of one family.
   *
   * @returns `null` if the server says that there are none. The runtime does not tell apart a name that does not
   * exist, one without such addresses, and a server that could not or would not say.
   * @throws {ProxyError} `dns_timeout`, `dns_error`.
   */
  addresses(name: string, family: Family, run: Run): Promise<FoundAddresses | null> {
    return this.#ask<FoundAddresses>(name, run, (done) => {
      const take = (error: Error | null, found: readonly { address: string; ttl: number }[]) => {
        const list = error === null ? found : [];
        done(error, {
          addresses: [...new Set(list.map((one) => one.address))],
          ttl: Math.min(...list.map((one) => one.ttl)) * 1000,
        }, list.length);
      };
      if (family === 4) this.#resolver.resolve4(name, { ttl: true }, take);
      else this.#resolver.resolve6(name, { ttl: true }, take);
    });
  }

  /**
   * Asks for the hosts of a service.
   *
   * @returns `null` if the server says that there are none; see {@linkcode Lookup.addresses}.
   * @throws {ProxyError} `dns_timeout`, `dns_error`.
   */
  services(name: string, run: Run): Promise<FoundService[] | null> {
    return this.#ask<FoundService[]>(name, run, (done) => {
      this.#resolver.resolveSrv(name, (error, found: SrvRecord[]) => {
        const list = error === null ? found : [];
        done(
          error,
          list.map(({ name, port, priority, weight }) => ({
            target: name.replace(/\.$/, ""),
            port,
            priority,
            weight,
          })),
          list.length,
        );
      });
    });
  }

  /** Ends every question that waits for an answer. */
  cancel(): void {
    this.#resolver.cancel();
  }

  #ask<T>(
    name: string,
    run: Run,
    start: (done: (error: Error | null, value: T, count: number) => void) => void,
  ): Promise<T | null> {
    const { signal } = run;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      // All questions of this resolver belong to one read, so that ending all of them is right.
      const cancel = () => this.cancel();
      signal.addEventListener("abort", cancel, { once: true });
      start((error, value, count) => {
        signal.removeEventListener("abort", cancel);
        const code = errorCode(error);
        if (signal.aborted) return reject(signal.reason);
        if (error === null && count > 0) return resolve(value);
        if (error === null || code === "ENOTFOUND" || code === "ENODATA") return resolve(null);
        const isLate = code === "ETIMEOUT";
        reject(
          new ProxyError(
            isLate ? "dns_timeout" : "dns_error",
            `Looking up "${name}": ${isLate ? "no answer in time" : reason(error)}`,
            { source: "upstream", cause: error },
          ),
        );
      });
    });
  }
}

function refuseBad(server: string): void {
  const address = isIP(server) !== 0 ? null : parseAddress(server);
  if (address === null) return;
  if (typeof address !== "string" && address.kind === "tcp" && isIP(address.host) !== 0) return;
  throw new ProxyError(
    "config_error",
    `DNS server ${JSON.stringify(server)}: expected an IP address, with or without a port`,
    { source: "internal" },
  );
}
