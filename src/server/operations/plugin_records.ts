/**
 * What has become of each plugin since the start, for operators and metrics.
 *
 * @module
 */
import type { SampleSink } from "../../observe/metrics/book.ts";
import type { PluginHost } from "../../sandbox/host.ts";
import type { PluginEvent } from "../../sandbox/runner.ts";
import { type PluginReport, reportOf } from "../plugin_report.ts";
import type { ProgramMetrics } from "./program_metrics.ts";

/** A plugin as operators see it. */
export interface PluginStatus extends Omit<PluginReport, "configSchema"> {
  /** `waiting`: it has died and is started again later. */
  readonly state: "running" | "waiting";
  /** Which sandbox it is, from 1; each start adds one or two. */
  readonly generation: number;
  readonly crashes: number;
  readonly restarts: number;
  /** Why it ended the last time, or `null`. */
  readonly lastCrash: { readonly cause: string; readonly message: string } | null;
}

interface Record {
  crashes: number;
  restarts: number;
  lastCrash: { readonly cause: string; readonly message: string } | null;
}

/** Keeps count. */
export class PluginRecords {
  readonly #metrics: ProgramMetrics;
  readonly #records = new Map<string, Record>();

  constructor(metrics: ProgramMetrics) {
    this.#metrics = metrics;
  }

  /** Takes note of something that happened to a plugin. */
  note(event: PluginEvent): void {
    const { book } = this.#metrics;
    const record = this.#record(event.plugin);
    if (event.kind === "crashed") {
      record.crashes++;
      record.lastCrash = { cause: event.cause, message: event.message };
      book.add(book.place("sluice_plugin_crashes_total", [event.plugin, event.cause]), 1);
    } else if (event.kind === "restarted" || event.kind === "replaced") {
      record.restarts++;
      const reason = event.kind === "restarted" ? "crash" : "asked";
      book.add(book.place("sluice_plugin_restarts_total", [event.plugin, reason]), 1);
    }
  }

  /** All plugins of a host. */
  status(host: PluginHost): PluginStatus[] {
    return host.states.map(({ loaded, running, generation }) => {
      const { configSchema: _, ...report } = reportOf(loaded);
      return {
        ...report,
        state: running ? "running" as const : "waiting" as const,
        generation,
        ...this.#record(report.name),
      };
    });
  }

  /** Tells whether each runs. */
  collect(sink: SampleSink, host: PluginHost): void {
    for (const { loaded: { spec }, running } of host.states) {
      sink.add("sluice_plugin_up", [spec.name, spec.isolation], running ? 1 : 0);
    }
  }

  #record(plugin: string): Record {
    let record = this.#records.get(plugin);
    if (record === undefined) {
      record = { crashes: 0, restarts: 0, lastCrash: null };
      this.#records.set(plugin, record);
    }
    return record;
  }
}
