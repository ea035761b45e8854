/**
 * The moment in which the program becomes another user: what it gives to that user before, and what it finds out after.
 *
 * @module
 */
import { type Identity, identityText } from "../config/accounts.ts";
import type { Config } from "../config/types.ts";
import { literal, type Logger } from "../observe/log.ts";
import { giveFiles } from "./given_files.ts";
import { becomeIdentity, isIdentity, PrivilegeError } from "./privileges.ts";

/** What {@linkcode changeIdentity} takes. */
export interface IdentityChange {
  readonly config: Config;
  readonly identity: Identity;
  /** The config file; `null`: none. */
  readonly file: string | null;
  readonly log: Logger;
}

/**
 * Becomes another user. Everything that only root may bind is bound by now; nothing of traffic has begun.
 *
 * @throws {PrivilegeError} If that cannot be done, or this program could not run as that user.
 */
export function changeIdentity({ config, identity, file, log }: IdentityChange): void {
  const who = identityText(identity);
  if (isIdentity(identity)) {
    log.debug(`Runs as ${who} already`);
    return;
  }
  giveFiles(config, identity, log);
  becomeIdentity(identity);
  // Threads that are started from now on load their modules as that user.
  const modules = moduleFolders().find((path) => !canRead(path));
  if (modules !== undefined) {
    throw new PrivilegeError(
      `server.user: ${who} may not read ${
        JSON.stringify(modules)
      }, which this program is loaded from: ` +
        "put it where that user may, and DENO_DIR, too",
    );
  }
  log.info(`Runs as ${who} from now on`, { user: identity.uid, group: identity.gid });
  const lost = [...filesOf(config, file)].filter((path) => !canRead(path));
  for (const path of lost) {
    log.warn(
      `${who} may not read ${
        literal(JSON.stringify(path))
      }: it was read as root, and a reload will fail`,
      { file: path },
    );
  }
  if (!canRead(Deno.execPath())) {
    log.warn(
      `${who} may not read ${literal(JSON.stringify(Deno.execPath()))}: ` +
        "an upgrade will fail, and so do plugins of isolation process",
    );
  }
}

/** Where the modules are, of this program and of its libraries. */
function moduleFolders(): string[] {
  if (Deno.build.standalone) return [];
  const own = import.meta.url;
  const home = Deno.env.get("HOME");
  const cache = Deno.env.get("DENO_DIR") ??
    (Deno.env.get("XDG_CACHE_HOME") ?? (home === undefined ? undefined : `${home}/.cache`))
      ?.concat("/deno");
  return [
    ...(own.startsWith("file:") ? [decodeURIComponent(new URL(own).pathname)] : []),
    ...(cache === undefined ? [] : [cache]),
  ];
}

/** What a reload reads. */
function* filesOf(config: Config, file: string | null): Iterable<string> {
  if (file !== null) yield file;
  if (config.pluginDirectory !== null) yield config.pluginDirectory;
  for (const { tls } of config.listeners) {
    for (const { cert, key } of tls?.certificates ?? []) {
      if (cert.file !== null) yield cert.file;
      if (key.file !== null) yield key.file;
    }
  }
}

/** What is not there at all is no matter of rights. */
function canRead(path: string): boolean {
  try {
    if (Deno.statSync(path).isDirectory) Deno.readDirSync(path)[Symbol.iterator]().next();
    else Deno.openSync(path).close();
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}
