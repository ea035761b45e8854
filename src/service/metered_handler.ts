/**
 * Measures the hooks of a plugin.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { Histogram, MetricBook } from "../observe/metrics/book.ts";
import type { HostSession, PhaseHandler } from "../plugin/handler.ts";
import type { PhaseName } from "../plugin/phases.ts";
import type { Match } from "../plugin/plugin.ts";
import type { ConnectionView } from "../plugin/session.ts";

/** How a hook can fail. */
const KINDS: Readonly<Partial<Record<ProxyError["type"], string>>> = {
  plugin_error: "error",
  plugin_timeout: "timeout",
  plugin_unavailable: "unavailable",
};

/** A handler whose calls are counted and timed. */
export class MeteredHandler implements PhaseHandler {
  readonly #inner: PhaseHandler;
  readonly #book: MetricBook;
  readonly #durations: { [Phase in PhaseName]?: Histogram } = {};

  constructor(inner: PhaseHandler, book: MetricBook) {
    this.#inner = inner;
    this.#book = book;
  }

  get name(): string {
    return this.#inner.name;
  }

  get phases(): ReadonlySet<PhaseName> {
    return this.#inner.phases;
  }

  get failOpen(): boolean {
    return this.#inner.failOpen;
  }

  get inline(): boolean {
    return this.#inner.inline;
  }

  match(phase: PhaseName): Match | null {
    return this.#inner.match(phase);
  }

  call(
    phase: PhaseName,
    session: HostSession | ConnectionView | null,
    first?: unknown,
    second?: unknown,
  ): unknown | Promise<unknown> {
    const began = performance.now();
    let result: unknown;
    try {
      result = this.#inner.call(phase, session, first, second);
    } catch (error) {
      this.#failed(phase, began, error);
      throw error;
    }
    if (result instanceof Promise) return this.#settled(phase, began, result);
    this.#took(phase, began);
    return result;
  }

  async #settled(phase: PhaseName, began: number, result: Promise<unknown>): Promise<unknown> {
    try {
      const value = await result;
      this.#took(phase, began);
      return value;
    } catch (error) {
      this.#failed(phase, began, error);
      throw error;
    }
  }

  #took(phase: PhaseName, began: number): void {
    const histogram = this.#durations[phase] ??= this.#book.histogram(
      "sluice_plugin_hook_duration_seconds",
      [this.name, phase],
    );
    histogram.observe((performance.now() - began) / 1000);
  }

  #failed(phase: PhaseName, began: number, error: unknown): void {
    this.#took(phase, began);
    const type = error instanceof ProxyError ? error.type : "plugin_error";
    // A client that has gone away is nobody's failure here.
    const kind = KINDS[type];
    if (kind === undefined) return;
    this.#book.add(this.#book.place("sluice_plugin_errors_total", [this.name, phase, kind]), 1);
  }
}
