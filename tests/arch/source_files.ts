/** The files of the tree, for tests about the tree itself. */
import { fileURLToPath } from "node:url";

/** The root of the repository, with a slash at its end. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));

/** The path of a file URL. */
export function fromFileUrl(url: string): string {
  return fileURLToPath(url);
}

/** Every TypeScript file of a folder, relative to the root, in name order. */
export async function sourceFiles(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(ROOT + directory)) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory) found.push(...await sourceFiles(path));
    else if (entry.name.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}
