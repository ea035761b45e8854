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

/** How many descriptors of a process are the socket that listens on a port of 127.0.0.1. */
export function listeningDescriptors(pid: number, port: number): number {
  const end = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = Deno.readTextFileSync(`/proc/${pid}/net/tcp`).split("\n").map((row) =>
    row.trim().split(/\s+/)
  );
  const LISTENING = "0A";
  const links = rows.filter(([, local, , state]) => local === end && state === LISTENING)
    .map((row) => `socket:[${row[9]}]`);
  let count = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      if (links.includes(Deno.readLinkSync(`/proc/${pid}/fd/${name}`))) count++;
    } catch {
      // It was closed meanwhile.
    }
  }
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
