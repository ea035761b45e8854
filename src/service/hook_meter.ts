/**
 * Measures the hooks of a plugin.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { Histogram, MetricBook } from "../observe/metrics/book.ts";
import type { PhaseName } from "../plugin/phases.ts";
import type { CallMeter } from "../sandbox/call_meter.ts";

/** How a hook can fail. */
const KINDS: Readonly<Partial<Record<ProxyError["type"], string>>> = {
  plugin_error: "error",
  plugin_timeout: "timeout",
  plugin_unavailable: "unavailable",
};

/** Counts and times the calls of one use of a plugin. */
export class HookMeter implements CallMeter {
  readonly #book: MetricBook;
  readonly #durations: { [Phase in PhaseName]?: Histogram } = {};

  constructor(book: MetricBook) {
    this.#book = book;
  }

  called(plugin: string, phase: PhaseName, ms: number, error: unknown): void {
    const histogram = this.#durations[phase] ??= this.#book.histogram(
      "sluice_plugin_hook_duration_seconds",
      [plugin, phase],
    );
    histogram.observe(ms / 1000);
    if (error === null) return;
    const type = error instanceof ProxyError ? error.type : "plugin_error";
    // A client that has gone away is nobody's failure here.
    const kind = KINDS[type];
    if (kind === undefined) return;
    this.#book.add(this.#book.place("sluice_plugin_errors_total", [plugin, phase, kind]), 1);
  }
}
