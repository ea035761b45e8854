/**
 * CPU time of processes with all their threads, from Linux's scheduler.
 *
 * @module
 */

/** Nanoseconds that each thread has run, by its id. */
export type CpuTimes = ReadonlyMap<string, number>;

/** What all threads of the processes have run so far. */
export function cpuTimes(pids: readonly number[]): CpuTimes {
  const times = new Map<string, number>();
  for (const pid of pids) {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      try {
        const text = Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`);
        times.set(name, Number(text.split(" ")[0]));
      } catch {
        // A thread that has just ended took its account with it.
      }
    }
  }
  return times;
}

/** Nanoseconds between two readings. What threads did that ended in between is lost; those of a proxy stay. */
export function cpuBetween(before: CpuTimes, after: CpuTimes): number {
  let sum = 0;
  for (const [thread, time] of after) sum += time - (before.get(thread) ?? 0);
  return sum;
}

/** The children of a process, whichever of its threads has started them. */
export function childrenOf(pid: number): number[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) => {
    const text = Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).trim();
    return text === "" ? [] : text.split(" ").map(Number);
  });
}

/** A process and its children. */
export function familyOf(pid: number): number[] {
  return [pid, ...childrenOf(pid)];
}
