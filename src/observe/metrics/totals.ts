/**
 * The metrics of the whole program: what its threads have told, added up.
 *
 * A thread that ends takes its gauges with it and leaves its counts behind, so that no total ever goes back when a
 * service worker is replaced.
 *
 * @module
 */
import { type MetricReport, MOST_SERIES, type SeriesId } from "./book.ts";
import { type FamilyName, familyRow, familyWidth } from "./families.ts";

/** One series with its values: one, or for a histogram the sum and then each bucket. */
export interface Series {
  readonly labels: readonly string[];
  readonly values: Float64Array;
}

/** Everything there is to tell, by the name of the metric. */
export type Snapshot = ReadonlyMap<FamilyName, readonly Series[]>;

/** Where one thread tells of its metrics. */
export interface MetricSource {
  /** Takes a report, in the order in which they were made. */
  take(report: MetricReport): void;
  /** The thread finishes what it has and takes on nothing new: what it thinks of upstreams does not count any more. */
  retire(): void;
  /** The thread has ended. */
  end(): void;
}

/** Adds up. */
export class MetricTotals {
  readonly #sources = new Set<Source>();
  /** What threads that have ended had counted. */
  readonly #past = new Sums(2 * MOST_SERIES);

  /** A thread begins. */
  open(): MetricSource {
    const source = new Source(() => {
      this.#sources.delete(source);
      source.addTo(this.#past, () => false);
    });
    this.#sources.add(source);
    return source;
  }

  /** The sums as of the last report of each thread. */
  snapshot(): Snapshot {
    const sums = new Sums(Infinity);
    this.#past.addTo(sums);
    for (const source of this.#sources) {
      source.addTo(sums, (name) => !source.retired || familyRow(name).serving !== true);
    }
    return sums.all;
  }
}

class Source implements MetricSource {
  retired = false;
  readonly #series: SeriesId[] = [];
  readonly #onEnd: () => void;
  #last: MetricReport = { series: [], values: new Float64Array(0), samples: [] };

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  take(report: MetricReport): void {
    this.#series.push(...report.series);
    this.#last = report;
  }

  retire(): void {
    this.retired = true;
  }

  end(): void {
    this.#onEnd();
  }

  /** @param gauges Which of the gauges are added, too. */
  addTo(sums: Sums, gauges: (name: FamilyName) => boolean): void {
    const { values, samples } = this.#last;
    let at = 0;
    for (const [name, ...labels] of this.#series) {
      const end = at + familyWidth(name);
      if (familyRow(name).type !== "gauge" || gauges(name)) {
        sums.add(name, labels, values.subarray(at, end));
      }
      at = end;
    }
    for (const [[name, ...labels], value] of samples) {
      if (familyRow(name).type !== "gauge" || gauges(name)) {
        sums.add(name, labels, Float64Array.of(value));
      }
    }
  }
}

class Sums {
  readonly #families = new Map<FamilyName, Map<string, Series>>();
  readonly #most: number;

  /** @param most Series kept of one metric; beyond it the oldest is forgotten. */
  constructor(most: number) {
    this.#most = most;
  }

  get all(): Snapshot {
    return new Map([...this.#families].map(([name, found]) => [name, [...found.values()]]));
  }

  add(name: FamilyName, labels: readonly string[], values: Float64Array): void {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = new Map();
      this.#families.set(name, family);
    }
    const key = labels.join("\n");
    const known = family.get(key);
    if (known === undefined) {
      // Endpoints come and go for as long as the program runs; what is remembered of them must not only grow.
      if (family.size >= this.#most) family.delete(family.keys().next().value!);
      family.set(key, { labels, values: values.slice() });
      return;
    }
    const { merge = "sum" } = familyRow(name);
    for (let i = 0; i < values.length; i++) {
      const [a, b] = [known.values[i]!, values[i]!];
      known.values[i] = merge === "sum" ? a + b : merge === "min" ? Math.min(a, b) : Math.max(a, b);
    }
  }

  addTo(other: Sums): void {
    for (const [name, family] of this.#families) {
      for (const { labels, values } of family.values()) other.add(name, labels, values);
    }
  }
}
