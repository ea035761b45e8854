/**
 * Endpoints from SRV records (RFC 2782): hosts, ports, weights and priorities of a service.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import { formatAddress } from "../../transport/address.ts";
import type { Endpoint } from "../backend.ts";
import type { Run } from "../health/bounded_run.ts";
import { AddressMemory, type Families, type NameAnswer } from "./address_memory.ts";
import type { Discovery, DiscoveryTools } from "./discovery.ts";
import { clampTtl, refuseBadName, type TtlBounds } from "./dns.ts";
import { arrange, isHost } from "./endpoint_list.ts";
import { type FoundService, LOOKUP, Lookup, type LookupConfig } from "./lookup.ts";
import { POLL_SETTINGS, PolledDiscovery, type PollSettings } from "./polled.ts";

/**
 * Settings. Plain data. The time to live of the SRV records is not known, so that the interval counts, or that of the
 * addresses where it is shorter. The addresses come from the same servers.
 */
export interface SrvConfig extends LookupConfig, PollSettings, TtlBounds {
  readonly type: "srv";
  /** Name of the service: `_http._tcp.example.com`. */
  readonly name: string;
  readonly families: Families;
  /** Whether "decidedly not available" (a target of `.`) takes all endpoints away. */
  readonly allowEmpty: boolean;
}

/** Settings where nothing else is said; `name` has no default. */
export const SRV: Omit<SrvConfig, "name"> = {
  ...LOOKUP,
  ...POLL_SETTINGS,
  type: "srv",
  minTtl: 1_000,
  maxTtl: 300_000,
  families: "any",
  allowEmpty: false,
};

/** Names that are looked up at a time. */
const AT_A_TIME = 8;
const MOST_WEIGHT = 65_535;

/** @throws {ProxyError} `config_error` if the settings make no sense. */
export function createSrv(config: SrvConfig, tools: DiscoveryTools): Discovery {
  const { name } = config;
  refuseBadName(name, config);
  const lookup = new Lookup(config);
  const memory = new AddressMemory(lookup, config.families);
  return new PolledDiscovery({
    ...config,
    tools,
    context: `SRV name "${name}"`,
    read: async (run) => {
      run.timeoutType = "dns_timeout";
      const services = await lookup.services(name, run);
      if (services === null) {
        throw new ProxyError("dns_error", `Looking up "${name}": no such name, or no SRV record`, {
          source: "upstream",
        });
      }
      for (const { target, port } of services) {
        // "." with any port says that there is no such service.
        if (target === "" || (isHost(target) && port > 0)) continue;
        throw new ProxyError(
          "dns_error",
          `Looking up "${name}": the record for ${
            JSON.stringify(target)
          }, port ${port}, cannot be connected to`,
          { source: "upstream" },
        );
      }
      const targets = new Set(services.map((one) => one.target).filter((one) => one !== ""));
      const answers = await findAll(memory, [...targets], run);
      memory.retain(targets);
      const ttl = Math.min(...[...answers.values()].map((one) => one.ttl));
      const next = clampTtl(ttl, config);
      return {
        endpoints: toEndpoints(services, answers),
        next: next === null ? null : Math.min(next, config.interval),
      };
    },
    onStop: () => lookup.cancel(),
  });
}

async function findAll(
  memory: AddressMemory,
  names: readonly string[],
  run: Run,
): Promise<Map<string, NameAnswer>> {
  const answers = new Map<string, NameAnswer>();
  let next = 0;
  const work = async () => {
    while (next < names.length) {
      const name = names[next++]!;
      answers.set(name, await memory.find(name, run));
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, names.length) }, work));
  return answers;
}

/**
 * Makes endpoints of services. A target without addresses is left out. One with several shares its weight among them;
 * so that weights stay whole, those of all targets grow alike.
 */
export function toEndpoints(
  services: readonly FoundService[],
  answers: ReadonlyMap<string, Pick<NameAnswer, "addresses" | "remembered">>,
): Endpoint[] {
  const hostsOf = ({ target }: FoundService): readonly string[] => {
    const answer = answers.get(target);
    if (answer === undefined) return [];
    return answer.addresses.length > 0 ? answer.addresses : answer.remembered;
  };
  const most = Math.max(1, ...services.map((one) => hostsOf(one).length));
  const made = new Map<string, Endpoint>();
  for (const service of services) {
    const hosts = hostsOf(service);
    // A weight of 0 is a small chance (RFC 2782), not none.
    const weight = Math.max(1, service.weight) * most / Math.max(1, hosts.length);
    for (const host of hosts) {
      const endpoint: Endpoint = {
        address: { kind: "tcp", host, port: service.port },
        weight: Math.min(MOST_WEIGHT, Math.max(1, Math.round(weight))),
        priority: service.priority,
        labels: { target: service.target },
      };
      const id = formatAddress(endpoint.address);
      const other = made.get(id);
      if (other === undefined || isBetter(endpoint, other)) made.set(id, endpoint);
    }
  }
  return arrange([...made.values()]);
}

/** Which of two records for one address counts: the same one, in whatever order they come. */
function isBetter(a: Endpoint, b: Endpoint): boolean {
  if (a.priority !== b.priority) return a.priority < b.priority;
  if (a.weight !== b.weight) return a.weight > b.weight;
  return a.labels["target"]! < b.labels["target"]!;
}
