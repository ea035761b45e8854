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
import type { CallMeter } from "./call_meter.ts";
import type { Link } from "./link.ts";
import { callError } from "./pending_call.ts";
import { type PhaseShape, shapeOf } from "./protocol.ts";
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
  readonly #meter: CallMeter | null;

  constructor(plugin: RemotePlugin, use: number, meter: CallMeter | null = null) {
    this.#plugin = plugin;
    this.#use = use;
    this.#meter = meter;
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
    if (link === null) return this.#refuse(shape, reason);
    if (link.size >= facts.concurrency) {
      return this.#refuse(shape, `${facts.concurrency} calls wait already`);
    }
    const timeout = facts.timeout ?? phaseRow(phase).timeout;
    return link.call(this.#use, shape, timeout, session, first, second, this.#meter);
  }

  #refuse(shape: PhaseShape, reason: string): Promise<never> {
    const { name } = this.#plugin.facts;
    const error = callError("plugin_unavailable", name, shape, reason);
    this.#meter?.called(name, shape.phase, 0, error);
    return Promise.reject(error);
  }
}

/** The phases that a service worker calls. */
export function calledPhases(facts: PluginFacts): ReadonlySet<PhaseName> {
  return new Set(facts.phases.filter((phase) => phase !== "tick"));
}
