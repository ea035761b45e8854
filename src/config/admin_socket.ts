/**
 * Where the admin interface listens when the config does not say.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import process from "node:process";

/**
 * The path of a socket that belongs to a config file, so that verbs find the program that runs it: in the runtime
 * directory of the service (`RUNTIME_DIRECTORY`, as systemd sets it) or of the user (`XDG_RUNTIME_DIR`), else in a
 * folder of the user's own under the one for temporary files.
 *
 * @param file Absolute path of the config file.
 * @param env Environment variables.
 * @param user Number of the user that the program becomes, who has no part in what belongs to the one that starts it.
 * Default: it stays who it is.
 */
export function adminSocket(
  file: string,
  env: Readonly<Record<string, string | undefined>>,
  user?: number,
): string {
  const name = createHash("sha256").update(file).digest("hex").slice(0, 12);
  const own = env["RUNTIME_DIRECTORY"]?.split(":")[0];
  if (own) return `${own}/admin.sock`;
  const ofUser = env["XDG_RUNTIME_DIR"];
  if (ofUser && user === undefined) return `${ofUser}/sluice-${name}.sock`;
  return `${tmpdir()}/sluice-${user ?? process.getuid?.() ?? 0}/${name}.sock`;
}
