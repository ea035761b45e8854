/**
 * Errors of the main thread that nobody has caught.
 *
 * @module
 */
import type { Logger } from "../observe/log.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";

/** Keeps one stray error of the main thread from ending the program: it is logged and counted. */
export function guardProcess(log: Logger, metrics: ProgramMetrics): { release(): void } {
  const rejected = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    metrics.strayError();
    log.error("A promise was rejected and nobody listened", { error: event.reason });
  };
  const thrown = (event: ErrorEvent) => {
    event.preventDefault();
    metrics.strayError();
    log.error("An error was thrown and nobody caught it", { error: event.error });
  };
  globalThis.addEventListener("unhandledrejection", rejected);
  globalThis.addEventListener("error", thrown);
  return {
    release() {
      globalThis.removeEventListener("unhandledrejection", rejected);
      globalThis.removeEventListener("error", thrown);
    },
  };
}
