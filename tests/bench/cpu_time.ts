/**
 * CPU time of processes with all their threads, from Linux's scheduler.
 *
 * @module
 */

/** Nanoseconds that all threads of the processes have run so far. */
export function cpuNanoseconds(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      try {
        sum += Number(Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`).split(" ")[0]);
      } catch {
        // A thread that has just ended took its account with it.
      }
    }
  }
  return sum;
}

/** The children of a process. */
export function childrenOf(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
  return text === "" ? [] : text.split(" ").map(Number);
}
