/**
 * Every kind of source. A new one is a file and a row.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import type { Discovery, DiscoveryTools } from "./discovery.ts";
import { createDns, type DnsConfig } from "./dns.ts";
import { createFile, type FileConfig } from "./file.ts";
import { createHttp, type HttpConfig } from "./http.ts";
import { type PluginConfig, PluginDiscovery, type PluginSource } from "./plugin.ts";
import { createSrv, type SrvConfig } from "./srv.ts";
import { createStatic, type StaticConfig } from "./static.ts";

/** Settings of a source of any kind. Plain data. */
export type DiscoveryConfig =
  | StaticConfig
  | DnsConfig
  | SrvConfig
  | FileConfig
  | HttpConfig
  | PluginConfig;

/** What all the sources together work with. */
export interface SourceTools extends DiscoveryTools {
  /** How a plugin finds endpoints; `null` if it does not. Default: no plugin does. */
  readonly pluginSource?: (plugin: string) => PluginSource | null;
}

type ConfigOf<T extends DiscoveryConfig["type"]> = Extract<DiscoveryConfig, { readonly type: T }>;

/** The kinds of sources, by the `type` of their settings. */
export const DISCOVERIES: {
  readonly [T in DiscoveryConfig["type"]]: (config: ConfigOf<T>, tools: SourceTools) => Discovery;
} = {
  static: createStatic,
  dns: createDns,
  srv: createSrv,
  file: createFile,
  http: createHttp,
  plugin: createPlugin,
};

/**
 * Makes a source.
 *
 * @throws {ProxyError} `config_error` if there is no such kind, or its settings make no sense.
 */
export function createDiscovery(config: DiscoveryConfig, tools: SourceTools): Discovery {
  const { type } = config;
  if (!Object.hasOwn(DISCOVERIES, type)) {
    throw new ProxyError("config_error", `Discovery "${type}": there is no such source`, {
      source: "internal",
    });
  }
  const create = DISCOVERIES[type] as (config: DiscoveryConfig, tools: SourceTools) => Discovery;
  return create(config, tools);
}

function createPlugin(config: PluginConfig, tools: SourceTools): Discovery {
  const source = tools.pluginSource?.(config.plugin) ?? null;
  if (source === null) {
    throw new ProxyError(
      "config_error",
      `Discovery "plugin": the plugin ${JSON.stringify(config.plugin)} names no endpoints`,
      { source: "internal" },
    );
  }
  return new PluginDiscovery(config, source, tools);
}
