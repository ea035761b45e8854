/**
 * The ratios that are kept in the repository, and what is worse than they.
 *
 * @module
 */
import type { InMemory } from "./in_memory.ts";
import type { Machine } from "./machine.ts";
import type { Row } from "./report.ts";

/** A ratio may be worse by so much before it is a step back: more than one noisy run. */
const TOLERANCE = 1.15;

/** Ratios to nginx of Sluice, by scenario; those of `code` are to a loop. */
export interface Baseline {
  readonly machine: Machine;
  readonly ratios: Readonly<Record<string, number>>;
}

/** Reads it. */
export async function readBaseline(file: string): Promise<Baseline> {
  return JSON.parse(await Deno.readTextFile(file));
}

/** Takes the ratios of Sluice over; those of other scenarios stay. */
export async function writeBaseline(
  file: string,
  machine: Machine,
  rows: readonly Row[],
  code: readonly InMemory[],
): Promise<void> {
  const before = await readBaseline(file).catch(() => null);
  const ratios: Record<string, number> = { ...before?.ratios };
  for (const { name, ratio } of code) ratios[name] = round(ratio);
  for (const { scenario, target, ratio } of rows) {
    if (target.startsWith("sluice")) ratios[key(scenario, target)] = round(ratio.median);
  }
  const sorted = Object.fromEntries(Object.entries(ratios).sort(([a], [b]) => a < b ? -1 : 1));
  await Deno.writeTextFile(file, JSON.stringify({ machine, ratios: sorted }, null, 2) + "\n");
}

/** A line for each scenario that is worse for sure: all of its interval lies over what is tolerated. */
export function compareWithBaseline(
  baseline: Baseline,
  rows: readonly Row[],
  code: readonly InMemory[] = [],
): string[] {
  const worse = code.flatMap(({ name, ratio }) => {
    const kept = baseline.ratios[name];
    if (kept === undefined || ratio <= kept * TOLERANCE) return [];
    return [`${name} is worse: ${ratio.toFixed(2)} times the loop, it was ${kept.toFixed(2)}`];
  });
  return worse.concat(rows.flatMap(({ scenario, target, ratio }) => {
    const kept = baseline.ratios[key(scenario, target)];
    if (kept === undefined || ratio.low <= kept * TOLERANCE) return [];
    return [
      `${target} is worse at ${scenario}: ${ratio.median.toFixed(2)} [${ratio.low.toFixed(2)}, ${
        ratio.high.toFixed(2)
      }] times nginx, it was ${kept.toFixed(2)}`,
    ];
  }));
}

function key(scenario: string, target: string): string {
  return target === "sluice" ? scenario : `${scenario} ${target}`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
