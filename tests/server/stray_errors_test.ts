import assert from "node:assert/strict";
import type { Logger } from "../../src/observe/log.ts";
import { ProgramMetrics } from "../../src/server/operations/program_metrics.ts";
import { guardProcess } from "../../src/server/stray_errors.ts";

function counted(metrics: ProgramMetrics): readonly number[] {
  const series = metrics.snapshot().get("sluice_unhandled_errors_total") ?? [];
  return series.filter(({ labels }) => labels[0] === "main").map(({ values }) => values[0]!);
}

Deno.test("errors of the main thread that nobody catches are logged with their cause and counted, and end nothing", () => {
  const metrics = new ProgramMetrics();
  const logged: unknown[] = [];
  const log = { error: (_: string, fields: { error: unknown }) => logged.push(fields.error) };
  const guard = guardProcess(log as unknown as Logger, metrics);
  const reason = new Error("stray", { cause: new Error("root") });
  const promise = Promise.resolve();
  const rejected = () =>
    new PromiseRejectionEvent("unhandledrejection", { cancelable: true, promise, reason });
  const thrown = () => new ErrorEvent("error", { cancelable: true, error: reason });
  try {
    for (const event of [rejected(), thrown()]) {
      globalThis.dispatchEvent(event);
      assert.equal(event.defaultPrevented, true);
    }
  } finally {
    guard.release();
  }
  assert.deepEqual(logged, [reason, reason]);
  assert.deepEqual(counted(metrics), [2]);
});
