/**
 * Folders for what nobody has named a place for: the admin socket and the pid file.
 *
 * @module
 */
import { folderProblem } from "../transport/unix_path.ts";

/**
 * Makes a folder that nobody else can put anything into.
 *
 * @throws {Error} If there is one already which is another user's, or which others may write to.
 */
export function ownFolder(path: string): void {
  Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  const problem = folderProblem(path);
  if (problem !== null) throw new Error(problem);
}
