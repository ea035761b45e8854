/**
 * Every balancing algorithm by the name it has in the configuration.
 *
 * @module
 */
import { Hash } from "./hash.ts";
import { Ketama } from "./ketama.ts";
import { LeastConnections } from "./least_connections.ts";
import { PeakEwma } from "./peak_ewma.ts";
import { PowerOfTwo } from "./power_of_two.ts";
import { Random } from "./random.ts";
import { RoundRobin } from "./round_robin.ts";
import type { Selection, SelectionOptions } from "./selection.ts";

/** What the table says of an algorithm. */
export interface SelectionRow {
  readonly make: (options: SelectionOptions) => Selection;
  /** Whether it wants a key to hash. */
  readonly keyed: boolean;
  /** Whether it wants answer times. */
  readonly timed: boolean;
  /** One line for the manual. */
  readonly summary: string;
}

/** Adding an algorithm is adding a file and a row. */
export const SELECTIONS = {
  round_robin: {
    make: () => new RoundRobin(),
    keyed: false,
    timed: false,
    summary: "One after the other by weight, evenly spread.",
  },
  random: {
    make: (options) => new Random(options),
    keyed: false,
    timed: false,
    summary: "By lot, with chances by weight.",
  },
  least_connections: {
    make: () => new LeastConnections(),
    keyed: false,
    timed: false,
    summary: "To whom has fewest requests in flight for its weight.",
  },
  power_of_two: {
    make: (options) => new PowerOfTwo(options),
    keyed: false,
    timed: false,
    summary: "Two by lot, and of them who has fewer requests in flight for its weight.",
  },
  peak_ewma: {
    make: (options) => new PeakEwma(options),
    keyed: false,
    timed: true,
    summary: "Two by lot, and of them who is likely to answer sooner.",
  },
  ketama: {
    make: () => new Ketama(),
    keyed: true,
    timed: false,
    summary:
      "By consistent hash of a key, on the same ring as nginx: few keys move when members change.",
  },
  hash: {
    make: () => new Hash(),
    keyed: true,
    timed: false,
    summary: "By plain hash of a key: evenly spread, but most keys move when members change.",
  },
} as const satisfies Readonly<Record<string, SelectionRow>>;

/** The name of a row of {@linkcode SELECTIONS}. */
export type PolicyName = keyof typeof SELECTIONS;
