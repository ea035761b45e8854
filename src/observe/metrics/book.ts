/**
 * The metrics of one thread: numbers in one array, which the hot path finds by their place.
 *
 * A place is asked for once, when a route, a plugin or whatever has the metric is made; from then on counting is an
 * addition and observing a short search. What changes seldom or is counted elsewhere anyway is not kept here, but
 * gathered by collectors when a report is made.
 *
 * An observation with five labels and fourteen buckets takes about 10 ns this way; prom-client needs 380 ns for it,
 * with its labels resolved beforehand or not.
 *
 * @module
 */
import {
  FAMILIES,
  type FamilyName,
  familyWidth,
  type LabelValues,
  type NamesOf,
} from "./families.ts";

/** One series as it crosses threads: the name of its metric, then one value for each label. */
export type SeriesId = readonly [name: FamilyName, ...labels: string[]];

/** One value that a collector has gathered. */
export type Sample = readonly [series: SeriesId, value: number];

/** What a thread tells of its metrics. Can be posted, with the buffer of `values` in the transfer list. */
export interface MetricReport {
  /** Series made since the last report, in the order of their values. */
  readonly series: readonly SeriesId[];
  /** The values of all series so far, each as many as its metric is wide. */
  readonly values: Float64Array<ArrayBuffer>;
  readonly samples: readonly Sample[];
}

/** What collectors write to. */
export interface SampleSink {
  /** Adds a value; those of one series are added up. */
  add<Name extends Exclude<FamilyName, NamesOf<"histogram">>>(
    name: Name,
    labels: LabelValues<Name>,
    value: number,
  ): void;
}

/** Gathers values when a report is made. */
export type Collector = (sink: SampleSink) => void;

/** Series that one thread may make of one metric; those beyond share one whose labels are all `_overflow`. */
export const MOST_SERIES = 4_096;
const OVERFLOW = "_overflow";

/** The metrics of one thread. */
export class MetricBook {
  /** All values. Replaced by a longer one when it is full, so never kept. */
  values: Float64Array<ArrayBuffer> = new Float64Array(1_024);
  readonly #places = new Map<string, number>();
  readonly #counts = new Map<FamilyName, number>();
  readonly #collectors = new Set<Collector>();
  #fresh: SeriesId[] = [];
  #used = 0;

  /** The place of a counter or gauge, for {@linkcode add} and {@linkcode set}. */
  place<Name extends Exclude<FamilyName, NamesOf<"histogram">>>(
    name: Name,
    labels: LabelValues<Name>,
  ): number {
    return this.#place(name, labels);
  }

  /** A histogram. */
  histogram<Name extends NamesOf<"histogram">>(
    name: Name,
    labels: LabelValues<Name>,
  ): Histogram {
    return new Histogram(this, this.#place(name, labels), FAMILIES[name].buckets);
  }

  /** Counts. */
  add(place: number, amount: number): void {
    this.values[place]! += amount;
  }

  /** Sets a gauge. */
  set(place: number, value: number): void {
    this.values[place] = value;
  }

  /** Asks `collector` for each report. Returns what ends that. */
  collect(collector: Collector): () => void {
    this.#collectors.add(collector);
    return () => this.#collectors.delete(collector);
  }

  /** Everything as it stands. */
  report(): MetricReport {
    const series = this.#fresh;
    this.#fresh = [];
    const samples = new Samples();
    for (const collector of this.#collectors) collector(samples);
    return { series, values: this.values.slice(0, this.#used), samples: samples.all };
  }

  #place(name: FamilyName, labels: readonly string[]): number {
    const key = `${name}\n${labels.join("\n")}`;
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    const count = this.#counts.get(name) ?? 0;
    if (count >= MOST_SERIES && labels.some((label) => label !== OVERFLOW)) {
      return this.#place(name, labels.map(() => OVERFLOW));
    }
    this.#counts.set(name, count + 1);
    const place = this.#used;
    this.#used += familyWidth(name);
    if (this.#used > this.values.length) {
      const longer = new Float64Array(Math.max(2 * this.values.length, this.#used));
      longer.set(this.values);
      this.values = longer;
    }
    this.#places.set(key, place);
    this.#fresh.push([name, ...labels]);
    return place;
  }
}

/** A histogram at its place. */
export class Histogram {
  readonly #book: MetricBook;
  readonly #place: number;
  readonly #bounds: readonly number[];

  /** @param place Of the sum; the buckets follow. */
  constructor(book: MetricBook, place: number, bounds: readonly number[]) {
    this.#book = book;
    this.#place = place;
    this.#bounds = bounds;
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    const { values } = this.#book;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    values[this.#place]! += value;
    values[this.#place + 1 + bucket]! += 1;
  }
}

class Samples implements SampleSink {
  readonly #found = new Map<string, [SeriesId, number]>();

  get all(): Sample[] {
    return [...this.#found.values()];
  }

  add(name: FamilyName, labels: readonly string[], value: number): void {
    const key = `${name}\n${labels.join("\n")}`;
    const known = this.#found.get(key);
    if (known !== undefined) known[1] += value;
    else this.#found.set(key, [[name, ...labels], value]);
  }
}
