/**
 * Which hooks a route has, by phase. Made once per route: a phase without hooks is `null`, so that asking for
 * it is one comparison and nothing is called.
 *
 * @module
 */
import { compileMatch } from "../http/matcher.ts";
import type { RequestHead } from "../http/message.ts";
import type { PhaseHandler } from "../plugin/handler.ts";
import { PHASE_NAMES, type PhaseName } from "../plugin/phases.ts";
import type { Match } from "../plugin/plugin.ts";

/** One hook in a chain. */
export interface Link {
  readonly handler: PhaseHandler;
  /** All must hold for the hook to be called. */
  readonly matches: readonly ((head: RequestHead) => boolean)[];
}

/** The hooks of a route, by phase. */
export type Plan = { readonly [Phase in PhaseName]: readonly Link[] | null };

/** A plugin on a route. */
export interface PlanUse {
  readonly handler: PhaseHandler;
  /** Which requests this use is for, beside what the plugin says itself. */
  readonly when: Match | null;
}

/** Makes the plan of a route whose plugins act in the order of `uses`. */
export function compilePlan(uses: readonly PlanUse[]): Plan {
  const plan = {} as Record<PhaseName, readonly Link[] | null>;
  for (const phase of PHASE_NAMES) {
    const links: Link[] = [];
    for (const { handler, when } of uses) {
      if (!handler.phases.has(phase)) continue;
      const own = handler.match(phase);
      const tests = [when, own].map((match) => match === null ? null : compileMatch(match));
      links.push({ handler, matches: tests.filter((test) => test !== null) });
    }
    plan[phase] = links.length === 0 ? null : links;
  }
  return plan;
}

/** The plan of a route without plugins. */
export const EMPTY_PLAN: Plan = compilePlan([]);

/** Whether a hook is to be called for a request. */
export function applies({ matches }: Link, head: RequestHead): boolean {
  for (let i = 0; i < matches.length; i++) if (!matches[i]!(head)) return false;
  return true;
}

/**
 * The hooks of a phase, if at least one is to be called for a request; else `null`.
 *
 * @param skippers Handlers that do not want to be called.
 */
export function concerned(
  links: readonly Link[] | null,
  head: RequestHead,
  skippers: ReadonlySet<PhaseHandler> | null = null,
): readonly Link[] | null {
  if (links === null) return null;
  for (const link of links) {
    if (applies(link, head) && skippers?.has(link.handler) !== true) return links;
  }
  return null;
}
