/**
 * Calls a plugin that runs in a sandbox.
 *
 * @module
 */
import type { HostSession, PhaseHandler } from "../plugin/handler.ts";
import type { PhaseName } from "../plugin/phases.ts";
import { phaseRow } from "../plugin/phases.ts";
import type { Match } from "../plugin/plugin.ts";
import type { ConnectionView } from "../plugin/session.ts";
import type { Link } from "./link.ts";
import { callError } from "./pending_call.ts";
import { shapeOf } from "./protocol.ts";
import type { PluginFacts } from "./wire.ts";

/** Where a handler finds its sandbox; both change when the plugin is replaced. */
export interface RemotePlugin {
  readonly facts: PluginFacts;
  readonly link: Link | null;
  /** Why there is no link. */
  readonly reason: string;
  /** The phases as a set; `tick` is not in it, because the sandbox calls that itself. */
  readonly phases: ReadonlySet<PhaseName>;
}

/** One use of a plugin in a sandbox. */
export class RemoteHandler implements PhaseHandler {
  readonly #plugin: RemotePlugin;
  readonly #use: number;

  constructor(plugin: RemotePlugin, use: number) {
    this.#plugin = plugin;
    this.#use = use;
  }

  get name(): string {
    return this.#plugin.facts.name;
  }

  get phases(): ReadonlySet<PhaseName> {
    return this.#plugin.phases;
  }

  readonly inline = false;

  get failOpen(): boolean {
    return this.#plugin.facts.failOpen;
  }

  match(phase: PhaseName): Match | null {
    const { facts } = this.#plugin;
    return facts.matchHooks[phase] ?? facts.match;
  }

  call(
    phase: PhaseName,
    session: HostSession | ConnectionView | null,
    first?: unknown,
    second?: unknown,
  ): Promise<unknown> {
    const shape = shapeOf(phase);
    const { facts, link, reason } = this.#plugin;
    if (link === null) {
      return Promise.reject(callError("plugin_unavailable", facts.name, shape, reason));
    }
    if (link.size >= facts.concurrency) {
      const text = `${facts.concurrency} calls wait already`;
      return Promise.reject(callError("plugin_unavailable", facts.name, shape, text));
    }
    const timeout = facts.timeout ?? phaseRow(phase).timeout;
    return link.call(this.#use, shape, timeout, session, first, second);
  }
}

/** The phases that a service worker calls. */
export function calledPhases(facts: PluginFacts): ReadonlySet<PhaseName> {
  return new Set(facts.phases.filter((phase) => phase !== "tick"));
}
