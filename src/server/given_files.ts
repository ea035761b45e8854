/**
 * Files that are given to the user that the program becomes, so that it can go on writing them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { dirname } from "node:path";
import { type Identity, identityText } from "../config/accounts.ts";
import type { Config } from "../config/types.ts";
import { literal, type Logger } from "../observe/log.ts";
import { openLibc } from "../transport/libc.ts";

const SYMBOLS = {
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  fchown: { parameters: ["i32", "u32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

/** Of Linux on every machine that the runtime is built for. */
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_CLOEXEC = 0o2000000;
/** Differs between machines: x86-64 and arm64. */
const O_NOFOLLOW = Deno.build.arch === "aarch64" ? 0o100000 : 0o400000;

/** A file that the program writes as long as it runs. */
interface Given {
  readonly path: string;
  readonly mode: number;
}

/**
 * Makes the logs and the pid file those of a user, as root: what is not there is made, what is root's is given.
 *
 * A folder of that user is left alone. He makes his files himself, and who could put a link in the place of one must
 * not have root follow it.
 */
export function giveFiles(config: Config, identity: Identity, log: Logger): void {
  const libc = openLibc(SYMBOLS);
  if (libc === null) return;
  const { open, fchown, close } = libc.symbols;
  const give = ({ path, mode }: Given): void => {
    const flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | (isThere(path) ? 0 : O_CREAT | O_EXCL);
    const descriptor = open(Buffer.from(`${path}\0`), flags, mode);
    if (descriptor < 0) return;
    try {
      const { isFile, uid, nlink } = Deno.statSync(`/proc/self/fd/${descriptor}`);
      if (isFile && uid === 0 && nlink === 1) fchown(descriptor, identity.uid, identity.gid);
    } finally {
      close(descriptor);
    }
  };
  try {
    for (const given of filesOf(config)) {
      const folder = folderOf(given.path);
      if (folder === null || folder.uid === identity.uid || folder.others) continue;
      give(given);
      const found = isThere(given.path);
      if (found === null || (found.isFile && found.uid === identity.uid)) continue;
      log.warn(
        `${literal(JSON.stringify(given.path))} is not given to ${
          identityText(identity)
        }: only a file that is root's, and no link, is`,
      );
    }
  } finally {
    libc.close();
  }
}

function filesOf({ log, accessLog, server }: Config): Given[] {
  const { output } = accessLog;
  return [
    ...(log.file === null ? [] : [{ path: log.file, mode: 0o640 }]),
    ...(typeof output === "object" ? [{ path: output.file, mode: 0o640 }] : []),
    ...(server.pidFile?.named === true ? [{ path: server.pidFile.path, mode: 0o644 }] : []),
  ];
}

/** Whose a folder is, and whether others may write to it; `null`: it is not there. */
function folderOf(path: string): { uid: number | null; others: boolean } | null {
  try {
    const { uid, mode } = Deno.statSync(dirname(path));
    return { uid, others: ((mode ?? 0) & 0o002) !== 0 };
  } catch {
    return null;
  }
}

function isThere(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch {
    return null;
  }
}
