/**
 * Where it was measured.
 *
 * @module
 */
import { availableParallelism, release } from "node:os";

/** What figures depend on. */
export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly deno: string;
}

/** This machine. */
export async function machine(): Promise<Machine> {
  const info = await Deno.readTextFile("/proc/cpuinfo");
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: /model name\s*: (.*)/.exec(info)?.[1] ?? "unknown",
    cores: availableParallelism(),
    kernel: release(),
    deno: Deno.version.deno,
  };
}
