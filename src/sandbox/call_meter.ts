/**
 * Who is told of each call of a hook.
 *
 * @module
 */
import type { PhaseName } from "../plugin/phases.ts";

/** Counts and times the calls of one use of a plugin. */
export interface CallMeter {
  /**
   * A call is over.
   *
   * @param ms How long it took, in milliseconds.
   * @param error What it failed with, if it did.
   */
  called(plugin: string, phase: PhaseName, ms: number, error: unknown): void;
}
