/**
 * A plugin in plain data: what it is, what it asks for, what it may do.
 *
 * @module
 */
import type { Permissions } from "../plugin/plugin.ts";
import type { LoadedPlugin } from "../sandbox/runner.ts";

/** What a plugin is, asks for and gets. */
export interface PluginReport {
  readonly name: string;
  /** Empty if it says none. */
  readonly version: string;
  readonly file: string;
  readonly isolation: string;
  readonly phases: readonly string[];
  readonly asked: Permissions;
  readonly granted: Permissions;
  /** JSON Schema of its config, or `null` if its schema cannot tell or it has none. */
  readonly configSchema: unknown;
}

/** What a loaded plugin is, asks for and gets. */
export function reportOf({ spec, manifest, rights }: LoadedPlugin): PluginReport {
  return {
    name: spec.name,
    version: manifest.version,
    file: spec.file,
    isolation: spec.isolation,
    phases: manifest.phases,
    asked: manifest.permissions,
    granted: rights,
    configSchema: manifest.configSchema,
  };
}
