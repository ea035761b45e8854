/**
 * What crosses between the plugin host on the main thread and a service worker: where the sandboxes are, and
 * how they do. Calls do not go this way.
 *
 * @module
 */
import type { PhaseName } from "../plugin/phases.ts";
import type { Match } from "../plugin/plugin.ts";
import type { Cloneable } from "../plugin/session.ts";
import type { EndpointList, HealthChange } from "../plugin/upstream.ts";
import type { LogLevel } from "./context.ts";
import type { LoadOrder } from "./control.ts";
import type { Line } from "./sandbox.ts";

/** What a service worker has to know of one plugin. Plain data. */
export interface PluginFacts {
  readonly name: string;
  readonly isolation: "worker" | "process" | "inline";
  readonly phases: readonly PhaseName[];
  readonly match: Match | null;
  readonly matchHooks: { readonly [Phase in PhaseName]?: Match };
  readonly failOpen: boolean;
  /** Deadline of a call in milliseconds, or `null` for that of each phase. */
  readonly timeout: number | null;
  readonly concurrency: number;
  /** How many uses it has. */
  readonly uses: number;
  /** What to load, if it runs inline. */
  readonly inline: LoadOrder | null;
  readonly tickInterval: number;
  /** How long a sandbox may take to answer a ping once a call has missed its deadline, in milliseconds. */
  readonly lateTimeout: number;
}

/** What a service worker is started with. Can be posted, with `wire` in the transfer list. */
export interface PluginsInit {
  /** The plugins by slot. A slot is for one plugin as it was loaded, and is never used for another. */
  readonly plugins: readonly (readonly [slot: number, facts: PluginFacts])[];
  readonly wire: MessagePort;
}

/** From the host. Plugins are named by their slot. */
export type HostNotice =
  /** New calls of this plugin go to this generation. The plugin may be one that was not there before. */
  | readonly ["attach", plugin: number, generation: number, line: Line | null, facts: PluginFacts]
  /** This generation is gone. */
  | readonly ["down", plugin: number, generation: number, reason: string]
  /** This plugin is no more, and nobody calls it. */
  | readonly ["forget", plugin: number]
  /** Whether this service worker runs the ticks of inline plugins. */
  | readonly ["ticks", boolean]
  /** For the inline plugins; said only to the service worker that runs their ticks. */
  | readonly ["health", HealthChange]
  /** All that was there at the start has been said. */
  | readonly ["synced"];

/** From a service worker. */
export type WorkerNotice =
  /** A call missed its deadline; so many rounds in a row did. */
  | readonly ["late", plugin: number, generation: number, rounds: number]
  /** What the sandbox sends makes no sense. */
  | readonly ["foul", plugin: number, generation: number, reason: string]
  /** No call waits for this generation any more, and the line to it is closed. */
  | readonly ["drained", plugin: number, generation: number]
  /** The line to this generation is closed: what was shared with it is not touched any more. */
  | readonly ["closed", plugin: number, generation: number]
  /** An inline plugin names endpoints. Said only by the service worker that runs its ticks. */
  | readonly ["endpoints", plugin: number, list: EndpointList]
  | readonly [
    "log",
    plugin: number,
    level: LogLevel,
    message: string,
    fields: Readonly<Record<string, Cloneable>> | undefined,
  ];
