/**
 * What the kernel watches for this process.
 *
 * @module
 */

/** Whether an inode is watched by this process (proc(5), inotify in fdinfo). */
export function inWatch(inode: number): boolean {
  const wanted = `ino:${inode.toString(16)} `;
  for (const { name } of Deno.readDirSync("/proc/self/fdinfo")) {
    let text: string;
    try {
      text = Deno.readTextFileSync(`/proc/self/fdinfo/${name}`);
    } catch {
      continue;
    }
    if (text.split("\n").some((line) => line.startsWith("inotify ") && line.includes(wanted))) {
      return true;
    }
  }
  return false;
}
