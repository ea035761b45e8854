/**
 * What was measured, for people.
 *
 * @module
 */
import type { Footprint, Memory } from "./footprint.ts";
import type { InMemory } from "./in_memory.ts";
import type { Machine } from "./machine.ts";
import type { Scenario } from "./scenarios.ts";
import type { Estimate } from "./statistics.ts";

/** What one proxy did in one scenario. */
export interface Row {
  readonly scenario: string;
  readonly target: string;
  /** Microseconds of CPU per request. */
  readonly cpu: number;
  /** To nginx in the same round. */
  readonly ratio: Estimate;
  /** Seconds of CPU per GB moved; `null` where content is small. */
  readonly perGigabyte: number | null;
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number | null;
  readonly p99: number | null;
  /** Milliseconds from start to first answer. */
  readonly startup: number;
}

/** What the table is of. */
export function header(machine: Machine, rounds: number, seconds: number): string {
  return [
    `${machine.date}, ${machine.cores} x ${machine.cpu}, ${machine.kernel}, Deno ${machine.deno}`,
    `${rounds} rounds of ${seconds} s; x is the CPU per request as a ratio to nginx in the same round, with 95 % confidence`,
    `${"".padEnd(16)}${"us/req".padStart(9)}${"x".padStart(7)}${"".padEnd(15)}${
      "s/GB".padStart(7)
    }${"req/s".padStart(9)}${"p50 ms".padStart(8)}${"p99 ms".padStart(8)}`,
  ].join("\n");
}

/** What our own code costs. */
export function codeLine({ name, title, least, middle, ratio }: InMemory): string {
  return `${name}: ${title} over sockets in memory: ${least.toFixed(2)} us at least, ${
    middle.toFixed(2)
  } in the middle, ${ratio.toFixed(2)} times the calibration loop`;
}

/** The rows of one scenario. */
export function scenarioLines(scenario: Scenario, rows: readonly Row[]): string[] {
  const aim = scenario.aim === null ? "" : `  (aim: ${scenario.aim})`;
  return [
    `${scenario.name}: ${scenario.title}${aim}`,
    ...rows.map(({ target, cpu, ratio, perGigabyte, perSecond, p50, p99 }) =>
      [
        `  ${target.padEnd(14)}`,
        cpu.toFixed(1).padStart(9),
        ratio.median.toFixed(2).padStart(7),
        ` [${ratio.low.toFixed(2)}, ${ratio.high.toFixed(2)}]`.padEnd(15),
        (perGigabyte?.toFixed(2) ?? "").padStart(7),
        perSecond.toFixed(0).padStart(9),
        (p50?.toFixed(2) ?? "").padStart(8),
        (p99?.toFixed(1) ?? "").padStart(8),
      ].join("")
    ),
  ];
}

/** The table of what is not per request. */
export function footprintLines(footprint: Footprint): string[] {
  return [
    "footprint: memory (of which its own, in no file) and time to start",
    ...footprint.peers.map(({ name, startup, started, idle, perConnection }) =>
      [
        `  ${name.padEnd(14)}${startup.toFixed(0).padStart(6)} ms to the first answer`,
        `${megabytes(started)}; after a load ${megabytes(idle)}`,
        `${(perConnection / 1000).toFixed(1)} kB per idle connection`,
      ].join(", ")
    ),
    `  a further service worker of Sluice: ${megabytes(footprint.perWorker)}`,
  ];
}

function megabytes({ resident, own }: Memory): string {
  return `${(resident / 1e6).toFixed(1)} MB (${(own / 1e6).toFixed(1)})`;
}
