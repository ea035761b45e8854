/**
 * What the operating system knows of this process, under the names that Prometheus clients use.
 *
 * @module
 */
import { descriptors } from "../descriptors.ts";
import type { Collector } from "./book.ts";

/** Ticks per second in /proc/PID/stat; the same on every Linux that runs Deno. */
const TICKS_PER_SECOND = 100;

/** Tells memory, CPU time and descriptors. What this system does not tell is left out. */
export function processCollector(): Collector {
  const startedAt = Date.now() / 1000 - performance.now() / 1000;
  return (sink) => {
    sink.add("process_start_time_seconds", [], Math.round(startedAt * 1000) / 1000);
    sink.add("process_resident_memory_bytes", [], Deno.memoryUsage().rss);
    const cpu = cpuSeconds();
    if (cpu !== null) sink.add("process_cpu_seconds_total", [], cpu);
    const { open, most } = descriptors();
    if (open !== null) sink.add("process_open_fds", [], open);
    if (most !== null) sink.add("process_max_fds", [], most);
  };
}

function cpuSeconds(): number | null {
  const stat = read("/proc/self/stat");
  if (stat === null) return null;
  // The second field is the name of the program, which may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function read(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}
