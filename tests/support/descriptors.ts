/**
 * Descriptors and sockets of another process, as the kernel counts them.
 *
 * @module
 */

/** How many descriptors a process has open. */
export function openDescriptors(pid: number): number {
  let count = 0;
  for (const _ of Deno.readDirSync(`/proc/${pid}/fd`)) count++;
  return count;
}

/** Waits until a process has at most `most` descriptors open; fails after `ms` milliseconds. */
export async function untilDescriptors(pid: number, most: number, ms: number): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    const count = openDescriptors(pid);
    if (count <= most) return;
    if (performance.now() > end) throw new Error(`${count} descriptors are open, not ${most}`);
    // The kernel tells nobody when a descriptor is closed.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
