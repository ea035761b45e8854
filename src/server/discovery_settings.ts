/**
 * The discovery of an upstream as its source takes it: what the config says, over what the source has as defaults.
 *
 * @module
 */
import { DNS } from "../balancer/discovery/dns.ts";
import { FILE } from "../balancer/discovery/file.ts";
import { HTTP } from "../balancer/discovery/http.ts";
import { PLUGIN } from "../balancer/discovery/plugin.ts";
import { SRV } from "../balancer/discovery/srv.ts";
import type { DiscoveryConfig as Source } from "../balancer/discovery/table.ts";
import type { Config } from "../config/types.ts";
import type { DiscoveryConfig, DnsTimes } from "../config/types_upstreams.ts";

/** Makes the settings of a source. */
export function discoverySettings(discovery: DiscoveryConfig, config: Config): Source {
  const { allowEmpty } = discovery;
  switch (discovery.type) {
    case "dns": {
      const { name, port } = discovery;
      return { ...DNS, type: "dns", name, port, ...times(discovery) };
    }
    case "srv":
      return { ...SRV, type: "srv", name: discovery.name, ...times(discovery), allowEmpty };
    case "file": {
      const { path, interval } = discovery;
      return { ...FILE, type: "file", path, interval, allowEmpty };
    }
    case "http": {
      const { url, interval, timeout, headers } = discovery;
      return { ...HTTP, type: "http", url, interval, timeout, headers, allowEmpty };
    }
    case "plugin":
      return {
        ...PLUGIN,
        type: "plugin",
        plugin: config.plugins[discovery.plugin]!.name,
        allowEmpty,
      };
  }
}

function times({ refresh, server, minTtl, maxTtl }: DnsTimes) {
  return {
    ...(refresh === null ? {} : { interval: refresh, minTtl: refresh, maxTtl: refresh }),
    ...(refresh === null ? { minTtl, maxTtl } : {}),
    ...(server === null ? {} : {
      servers: [
        server.host.includes(":")
          ? `[${server.host}]:${server.port}`
          : `${server.host}:${server.port}`,
      ],
    }),
  };
}
