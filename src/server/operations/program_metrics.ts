/**
 * The metrics of the program: what the main thread counts, and what its service workers tell.
 *
 * @module
 */
import { MetricBook, type SampleSink } from "../../observe/metrics/book.ts";
import { processCollector } from "../../observe/metrics/process.ts";
import { type MetricSource, MetricTotals, type Snapshot } from "../../observe/metrics/totals.ts";
import deno from "../../../deno.json" with { type: "json" };

/** Counts for all threads. */
export class ProgramMetrics {
  /** What the main thread counts. */
  readonly book: MetricBook = new MetricBook();
  readonly #totals = new MetricTotals();
  readonly #own: MetricSource = this.#totals.open();
  #generation = 1;
  #lastReloadGood = true;
  #lastGoodReload = Date.now();

  constructor() {
    this.book.collect(processCollector());
    this.book.collect((sink) => this.#collect(sink));
  }

  /** Which config runs, from 1. */
  get generation(): number {
    return this.#generation;
  }

  /** Whether the last load of a config succeeded, and when one last did, in milliseconds since 1970. */
  get lastReload(): { readonly successful: boolean; readonly succeededAt: number } {
    return { successful: this.#lastReloadGood, succeededAt: this.#lastGoodReload };
  }

  /** A service worker begins. */
  worker(): MetricSource {
    return this.#totals.open();
  }

  /** A reload has ended. */
  reloaded(successful: boolean): void {
    this.#lastReloadGood = successful;
    if (successful) {
      this.#generation++;
      this.#lastGoodReload = Date.now();
    }
    const labels = [successful ? "success" : "failure"] as const;
    this.book.add(this.book.place("sluice_config_reloads_total", labels), 1);
  }

  /** An error of the main thread was caught by nobody. */
  strayError(): void {
    this.book.add(this.book.place("sluice_unhandled_errors_total", ["main"]), 1);
  }

  /** Everything, as of the last reports of the workers. */
  snapshot(): Snapshot {
    this.#own.take(this.book.report());
    return this.#totals.snapshot();
  }

  #collect(sink: SampleSink): void {
    sink.add("sluice_build_info", [deno.version, Deno.version.deno], 1);
    sink.add("sluice_config_generation", [], this.#generation);
    sink.add("sluice_config_last_reload_successful", [], this.#lastReloadGood ? 1 : 0);
    sink.add(
      "sluice_config_last_reload_success_timestamp_seconds",
      [],
      this.#lastGoodReload / 1000,
    );
  }
}
