/**
 * A digest of all that a plugin consists of, to tell whether it has changed.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";

/** Entries of a plugin folder that are looked at; a folder with more counts as changed each time. */
const MOST_ENTRIES = 10_000;

/**
 * Digests a file, or all files of a folder with their names.
 *
 * @returns Text that is equal for equal content. What cannot be read, or is too much, gives a text that is never equal.
 */
export async function contentDigest(root: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    const entries = { left: MOST_ENTRIES };
    await add(hash, root, "", entries);
    if (entries.left >= 0) return hash.digest("hex");
  } catch {
    // Whoever loads it will say what is wrong with it.
  }
  return crypto.randomUUID();
}

async function add(
  hash: Hash,
  path: string,
  name: string,
  entries: { left: number },
): Promise<void> {
  if (--entries.left < 0) return;
  const info = await Deno.stat(path);
  if (!info.isDirectory) {
    const bytes = await Deno.readFile(path);
    hash.update(`${name}\0${bytes.length}\0`).update(bytes);
    return;
  }
  const names: string[] = [];
  for await (const entry of Deno.readDir(path)) names.push(entry.name);
  for (const one of names.sort()) await add(hash, `${path}/${one}`, `${name}/${one}`, entries);
}
