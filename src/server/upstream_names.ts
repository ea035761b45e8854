/**
 * Which names the upstreams of a config are reached by, and what service workers may reach anyway.
 *
 * @module
 */
import { getServers } from "node:dns";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import type { Endpoint } from "../balancer/backend.ts";
import type { Config } from "../config/types.ts";
import type { Address } from "../transport/address.ts";
import { formatAddress } from "../transport/address.ts";
import type { WantedNames } from "./name_watch.ts";

/** Where a system keeps names and name servers. */
const NAME_FILES = ["/etc/hosts", "/etc/resolv.conf"];

/**
 * The names to watch, with the ports that they are reached at.
 *
 * @param found Endpoints that were discovered, by upstream. Of those only what the operator allows counts.
 */
export function wantedNames(
  config: Config,
  found: ReadonlyMap<string, readonly Endpoint[]>,
): WantedNames {
  const wanted = new Map<string, Set<number>>();
  const want = (address: Address) => {
    if (address.kind !== "tcp" || isIP(address.host) !== 0) return;
    const host = address.host.toLowerCase();
    const ports = wanted.get(host) ?? new Set<number>();
    wanted.set(host, ports.add(address.port));
  };
  for (const { name, endpoints, options, discovery } of config.upstreams) {
    for (const { address } of endpoints) want(address);
    if (options.proxy !== null) want(options.proxy.address);
    for (const { address } of found.get(name) ?? []) {
      const allowed = discovery?.allow ?? null;
      if (address.kind !== "tcp") continue;
      if (allowed === null || covers(allowed, address.host, address.port)) want(address);
    }
  }
  return wanted;
}

/** The names of either. */
export function unite(a: WantedNames, b: WantedNames): WantedNames {
  const all = new Map<string, ReadonlySet<number>>(a);
  for (const [host, ports] of b) all.set(host, new Set([...ports, ...a.get(host) ?? []]));
  return all;
}

/** Whether service workers may reach an address by what the config says, whatever names lead to. */
export function reachableAnyway(config: Config): (host: string, port: number) => boolean {
  const rights = [...config.server.allowedPeers];
  for (const { discovery, endpoints } of config.upstreams) {
    if (discovery !== null && discovery.allow === null) return () => true;
    rights.push(...discovery?.allow ?? []);
    for (const { address } of endpoints) {
      if (address.kind === "tcp") rights.push(formatAddress(address));
    }
  }
  return (host, port) => covers(rights, host, port);
}

/**
 * What a service worker needs besides, to look up names that nobody tells it about yet. It cannot be told which name
 * servers to ask: where the config names some, it asks nobody.
 */
export function lookupRights(config: Config): { readonly net: string[]; readonly read: string[] } {
  const named = config.upstreams.flatMap(({ endpoints, options }) => [
    ...endpoints.map(({ address }) => address),
    ...(options.proxy === null ? [] : [options.proxy.address]),
  ]).flatMap((address) => address.kind === "tcp" && isIP(address.host) === 0 ? address.host : []);
  if (named.length === 0) return { net: [], read: [] };
  const servers = config.server.nameServers.length > 0
    ? []
    : getServers().map((server) =>
      isIP(server) === 0 ? server : formatAddress({ kind: "tcp", host: server, port: 53 })
    );
  // Looking a name up asks for the right to the name as such, with whatever port.
  return { net: [...new Set([...named, ...servers])], read: NAME_FILES };
}

/** Whether one of Deno's net rights covers an address: `host`, `host:port`, `*.domain`, a network. */
export function covers(rights: readonly string[], host: string, port: number): boolean {
  const name = host.toLowerCase();
  return rights.some((right) => {
    const wanted = right.toLowerCase();
    if (wanted === name || wanted === formatAddress({ kind: "tcp", host: name, port })) return true;
    if (wanted.startsWith("*.")) {
      const rest = wanted.slice(2);
      const [domain, at] = rest.split(":");
      const isBelow = name === domain || name.endsWith(`.${domain}`);
      return isBelow && (at === undefined || at === String(port));
    }
    return wanted.includes("/") && isIP(name) !== 0 && inNetwork(wanted, name);
  });
}

function inNetwork(network: string, host: string): boolean {
  try {
    const [base, bits] = ipaddr.parseCIDR(network);
    const address = ipaddr.parse(host);
    return address.kind() === base.kind() && address.match([base, bits] as never);
  } catch {
    return false;
  }
}
