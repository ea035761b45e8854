/**
 * Becoming another user for good, when everything is bound and opened that only root may bind and open.
 *
 * @module
 */
import process from "node:process";
import { type Identity, identityText } from "../config/accounts.ts";
import { libcAvailable, openLibc } from "../transport/libc.ts";

const SYMBOLS = {
  initgroups: { parameters: ["buffer", "u32"], result: "i32" },
  setgroups: { parameters: ["usize", "buffer"], result: "i32" },
  setgid: { parameters: ["u32"], result: "i32" },
  setuid: { parameters: ["u32"], result: "i32" },
} as const;

/** The process cannot become who it is to be; the message says why, and what to do. */
export class PrivilegeError extends Error {
  override readonly name: string = "PrivilegeError";
}

/** Whether this process is who it is to be: the one after an upgrade is from its start. */
export function isIdentity({ uid, gid }: Identity): boolean {
  return process.getuid?.() === uid && process.getgid?.() === gid;
}

/**
 * Makes sure that this process can become another user.
 *
 * @throws {PrivilegeError} If it cannot.
 */
export function checkIdentity(identity: Identity): void {
  if (isIdentity(identity)) return;
  const who = `server.user: this process cannot become ${identityText(identity)}`;
  if (Deno.build.os !== "linux") {
    throw new PrivilegeError(`${who}: that needs Linux; remove server.user`);
  }
  const own = process.getuid?.();
  if (own !== 0) {
    throw new PrivilegeError(
      `${who}: it runs as user ${own}, and only root can; start it as root, or remove server.user`,
    );
  }
  if (!libcAvailable()) {
    throw new PrivilegeError(
      `${who} without a call into libc: run with --allow-ffi and --allow-read, which -A includes, or remove server.user`,
    );
  }
}

/**
 * Makes the whole process that of another user and group, with the further groups of that user and no others. There is
 * no way back.
 *
 * @throws {PrivilegeError} If that was refused, or did not reach every thread. The process must end then.
 */
export function becomeIdentity(identity: Identity): void {
  if (isIdentity(identity)) return;
  checkIdentity(identity);
  const { user, uid, gid } = identity;
  const who = identityText(identity);
  const libc = openLibc(SYMBOLS);
  if (libc === null) throw new PrivilegeError(`server.user: libc cannot be loaded`);
  const { initgroups, setgroups, setgid, setuid } = libc.symbols;
  const demand = (call: string, result: number) => {
    if (result === 0) return;
    throw new PrivilegeError(
      `server.user: the system has refused to let this process become ${who} (${call}): ` +
        "it needs the capabilities CAP_SETUID and CAP_SETGID, which a container may have taken from root",
    );
  };
  try {
    // Groups first: who is not root any more cannot change them. libc tells all threads, which the kernel does not.
    if (user === null) demand("setgroups", setgroups(1n, new Uint32Array([gid]) as BufferSource));
    else demand("initgroups", initgroups(new TextEncoder().encode(`${user}\0`), gid));
    demand("setgid", setgid(gid));
    demand("setuid", setuid(uid));
    if (uid !== 0 && setuid(0) === 0) {
      throw new PrivilegeError(`server.user: this process could become root again after ${who}`);
    }
  } finally {
    libc.close();
  }
  const left = threadsOfOthers(uid, gid);
  if (left > 0) {
    throw new PrivilegeError(`server.user: ${left} threads of this process have not become ${who}`);
  }
}

/** Threads that are not wholly those of a user and a group. */
function threadsOfOthers(uid: number, gid: number): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    let status: string;
    try {
      status = Deno.readTextFileSync(`/proc/self/task/${name}/status`);
    } catch {
      // It has ended.
      continue;
    }
    if (!isAll(status, "Uid", uid) || !isAll(status, "Gid", gid)) count++;
  }
  return count;
}

/** Real, effective, saved, and that for files. */
function isAll(status: string, field: string, id: number): boolean {
  const line = new RegExp(`^${field}:\\s+(.*)$`, "m").exec(status)?.[1] ?? "";
  return line.split(/\s+/).every((one) => Number(one) === id);
}
