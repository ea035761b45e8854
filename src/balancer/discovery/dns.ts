/**
 * Endpoints from the addresses of a name (A and AAAA), asked for again when their time to live is over.
 *
 * @module
 */
import { isIP } from "node:net";
import { ProxyError } from "../../base/error.ts";
import type { Endpoint } from "../backend.ts";
import { AddressMemory, type Families } from "./address_memory.ts";
import type { Discovery, DiscoveryTools } from "./discovery.ts";
import { arrange, isHost } from "./endpoint_list.ts";
import { LOOKUP, Lookup, type LookupConfig } from "./lookup.ts";
import { POLL_SETTINGS, PolledDiscovery, type PollSettings } from "./polled.ts";

/** Bounds of the time that answers are believed. Plain data; milliseconds. */
export interface TtlBounds {
  readonly minTtl: number;
  readonly maxTtl: number;
}

/**
 * Settings. Plain data. `interval` counts where no time to live is known. An answer without addresses is always a
 * failure: the runtime does not tell it from a server that failed.
 */
export interface DnsConfig extends LookupConfig, PollSettings, TtlBounds {
  readonly type: "dns";
  /** Name to look up. */
  readonly name: string;
  /** Port of every endpoint. */
  readonly port: number;
  readonly families: Families;
}

/** Settings where nothing else is said; `name` and `port` have no default. */
export const DNS: Omit<DnsConfig, "name" | "port"> = {
  ...LOOKUP,
  ...POLL_SETTINGS,
  type: "dns",
  minTtl: 1_000,
  maxTtl: 300_000,
  families: "any",
};

/** @throws {ProxyError} `config_error` if the settings make no sense. */
export function createDns(config: DnsConfig, tools: DiscoveryTools): Discovery {
  const { name, port } = config;
  refuseBadName(name, config);
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535)) {
    throw new ProxyError("config_error", `DNS name "${name}": the port must be 1 to 65535`, {
      source: "internal",
    });
  }
  const lookup = new Lookup(config);
  const memory = new AddressMemory(lookup, config.families);
  return new PolledDiscovery({
    ...config,
    tools,
    context: `DNS name "${name}"`,
    allowEmpty: false,
    read: async (run) => {
      run.timeoutType = "dns_timeout";
      const { addresses, ttl } = await memory.find(name, run);
      if (addresses.length === 0) {
        throw new ProxyError("dns_error", `Looking up "${name}": no such host, or no address`, {
          source: "upstream",
        });
      }
      return {
        endpoints: arrange(addresses.map((host): Endpoint => ({
          address: { kind: "tcp", host, port },
          weight: 1,
          priority: 0,
          labels: {},
        }))),
        next: clampTtl(ttl, config),
      };
    },
    onStop: () => lookup.cancel(),
  });
}

/** When to ask again; `null` where no time to live is known. */
export function clampTtl(ttl: number, { minTtl, maxTtl }: TtlBounds): number | null {
  return Number.isFinite(ttl) ? Math.min(maxTtl, Math.max(minTtl, ttl)) : null;
}

/** @throws {ProxyError} `config_error` if it is no name, or the bounds make no sense. */
export function refuseBadName(name: string, { minTtl, maxTtl }: TtlBounds): void {
  const why = isIP(name) !== 0
    ? "it is an address; write it under `endpoints`"
    : !isHost(name)
    ? "it is not a host name"
    : !(minTtl > 0 && maxTtl >= minTtl)
    ? "`minTtl` must be more than 0, and `maxTtl` no less than it"
    : null;
  if (why === null) return;
  throw new ProxyError("config_error", `DNS name ${JSON.stringify(name)}: ${why}`, {
    source: "internal",
  });
}
