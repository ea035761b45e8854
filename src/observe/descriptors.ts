/**
 * Descriptors of this process: how many there are, and whether there are enough for what is to be started.
 *
 * The runtime ends the whole process when a thread that it starts finds none. So nobody starts a thread without having
 * looked.
 *
 * @module
 */

/** What the process opens in passing, beside what is asked for. */
const IN_PASSING = 8;

/** Asked for by threads and processes that are being started, and not all open yet. */
let reserved = 0;

/** Descriptors that are open, and how many may be; `null`: this system does not tell. */
export function descriptors(): { readonly open: number | null; readonly most: number | null } {
  let open: number | null = null;
  try {
    // One of them is the folder being read.
    open = [...Deno.readDirSync("/proc/self/fd")].length - 1;
  } catch { /* There is no such folder here. */ }
  return { open, most: limit() || null };
}

/** There are too few descriptors to start something. */
export class DescriptorShortage extends Error {
  override readonly name: string = "DescriptorShortage";
}

/**
 * Makes sure that there are descriptors for something that is about to be started.
 *
 * @param count How many it opens.
 * @param what It, for the message.
 * @returns To be called when it has opened them, or never will; harmless when that has been done.
 * @throws {DescriptorShortage} If there are too few. Where the system does not tell, there are enough.
 */
export function reserveDescriptors(count: number, what: string): () => void {
  const free = freeDescriptors();
  if (free !== null && free - reserved < count + IN_PASSING) {
    const left = Math.max(0, free - reserved);
    throw new DescriptorShortage(
      `${what} cannot be started: that takes ${count} file descriptors, and ${left} are free. ` +
        "Raise their limit (LimitNOFILE of systemd, ulimit -n), or lower max_connections of listeners",
    );
  }
  reserved += count;
  let held = true;
  return () => {
    if (held) reserved -= count;
    held = false;
  };
}

function freeDescriptors(): number | null {
  try {
    const most = limit();
    return most === null ? null : most - [...Deno.readDirSync("/proc/self/fd")].length;
  } catch (error) {
    return isShortage(error) ? 0 : null;
  }
}

function limit(): number | null {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(Deno.readTextFileSync("/proc/self/limits"));
    return found === null ? null : Number(found[1]);
  } catch (error) {
    return isShortage(error) ? 0 : null;
  }
}

function isShortage(error: unknown): boolean {
  return /EMFILE|ENFILE|too many open files/i.test(String(error));
}
