/**
 * What is known of a plugin from the configuration, and what is known of it once it was loaded.
 *
 * @module
 */
import type { PhaseName } from "../plugin/phases.ts";
import type { Match, OnError, Permissions } from "../plugin/plugin.ts";

/** Where a value was written. */
export interface SpecSource {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One configuration to run a plugin with. */
export interface UseSpec {
  /** Unvalidated: the plugin's own schema does that. */
  readonly config: unknown;
  /** Where it stands, or `null` if the plugin came from the directory alone. */
  readonly source: SpecSource | null;
}

/** A plugin as the operator wants it run. A `PluginConfig` of the configuration is one. */
export interface PluginSpec {
  readonly name: string;
  /** Absolute path of the module. */
  readonly file: string;
  /** Absolute path of the folder whose files it may read; for a plugin that is one file, that file. */
  readonly root: string;
  readonly isolation: "worker" | "process" | "inline";
  /** What the operator grants; `as-requested` for all that it asks for. */
  readonly grant: Permissions | "as-requested";
  /** Over what the plugin says. */
  readonly onError: OnError | null;
  /** Deadline of one call in milliseconds, over what the plugin says. */
  readonly timeout: number | null;
  /** Heap of the sandbox in bytes, over what the plugin says. */
  readonly heap: number | null;
  /** How long it may take to load, and then to set up, in milliseconds. */
  readonly loadTimeout: number;
  readonly uses: readonly UseSpec[];
}

/** What a plugin says of itself, checked. Plain data. */
export interface PluginManifest {
  readonly name: string;
  /** Empty if it says none. */
  readonly version: string;
  /** What it asks for. */
  readonly permissions: Permissions;
  /** The phases that it has hooks for, in the order of their calls. */
  readonly phases: readonly PhaseName[];
  readonly match: Match | null;
  readonly matchHooks: { readonly [Phase in PhaseName]?: Match };
  readonly limits: {
    /** Milliseconds, or `null` for the default of each phase. */
    readonly timeout: number | null;
    /** Bytes. */
    readonly heap: number;
    /** Calls that may wait at once, per service worker. */
    readonly concurrency: number;
  };
  readonly onError: OnError;
  /** Milliseconds between two calls of `tick`. */
  readonly tickInterval: number;
  readonly hasConfigSchema: boolean;
  /** JSON Schema of its config, or `null` if its schema cannot tell or it has none. */
  readonly configSchema: unknown;
}

export const DEFAULT_HEAP: number = 64 * 1024 * 1024;
export const DEFAULT_CONCURRENCY: number = 1000;
export const DEFAULT_TICK: number = 60_000;
