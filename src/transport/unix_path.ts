/**
 * The file of a unix socket: who may bind it, who may use it, and who takes it away.
 *
 * @module
 */
import process from "node:process";

/** How to bind. */
export interface UnixBindOptions {
  /** Mode of the socket's file. */
  readonly mode: number;
  /** Default `null`: whoever runs this owns it. */
  readonly owner?: UnixOwner | null;
  /** Whether one on which somebody listens may be taken from him. Default `false`: that is an error. */
  readonly takeOver?: boolean;
}

/** Who owns the file of a socket. */
export interface UnixOwner {
  readonly user: number;
  readonly group: number;
}

/** A bound unix socket. */
export interface UnixBinding {
  readonly listener: Deno.UnixListener;
  /** Removes the file, if it is still the one that was bound. To be called after closing the listener. */
  release(): void;
}

/** Where a socket is bound before it gets its name. */
export function unixDraft(path: string): string {
  return path.startsWith("\0") ? path : `${path}${DRAFT}`;
}

/** The name of a socket that was bound by {@linkcode bindUnix}. */
export function unixName(bound: string): string {
  return bound.endsWith(DRAFT) ? bound.slice(0, -DRAFT.length) : bound;
}

const DRAFT = "~";

/**
 * Binds a unix socket. A file that a dead process left behind is replaced; one on which somebody listens, or that is no
 * socket, is left alone.
 *
 * It is bound under another name, given its mode and owner, and then moved into place: nobody finds it half ready, and
 * one that is taken over has no moment without anybody who listens. Two things follow. The path that the runtime
 * removes when it closes the socket is not there any more, so that a successor's is safe; and rights are needed for
 * both names.
 *
 * @throws {Error} If the path is in use or cannot be bound.
 */
export async function bindUnix(path: string, options: UnixBindOptions): Promise<UnixBinding> {
  if (path.startsWith("\0")) {
    return { listener: Deno.listen({ transport: "unix", path }), release: () => {} };
  }
  await checkFree(path, options.takeOver ?? false);
  const draft = unixDraft(path);
  removeOwn(draft, null);
  const listener = Deno.listen({ transport: "unix", path: draft });
  try {
    Deno.chmodSync(draft, options.mode);
    if (options.owner) Deno.chownSync(draft, options.owner.user, options.owner.group);
    const inode = Deno.lstatSync(draft).ino;
    Deno.renameSync(draft, path);
    return { listener, release: () => removeOwn(path, inode) };
  } catch (error) {
    listener.close();
    throw error;
  }
}

/**
 * Why a folder is not one that only its owner can put anything into; `null` if it is.
 *
 * @param owner Number of the user whose it must be. Default: the user of this process.
 * @throws {Error} If it is not there.
 */
export function folderProblem(
  path: string,
  owner: number | undefined = process.getuid?.(),
): string | null {
  const { isDirectory, uid, mode } = Deno.lstatSync(path);
  const name = `the folder ${JSON.stringify(path)}`;
  if (!isDirectory) return `${name} is none: something else is there by that name`;
  if (owner !== undefined && uid !== owner) return `${name} belongs to another user`;
  return ((mode ?? 0) & 0o022) === 0 ? null : `others may write to ${name}`;
}

/** @throws {Error} If something is there that must not be replaced. */
async function checkFree(path: string, takeOver: boolean): Promise<void> {
  let found: Deno.FileInfo;
  try {
    found = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (found.isSocket && takeOver) return;
  if (!found.isSocket) throw new Error("there is a file of that name which is not a socket");
  try {
    const connection = await Deno.connect({ transport: "unix", path });
    connection.close();
  } catch (error) {
    // Refused is the one answer that says that nobody listens; a full queue, say, does not.
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    return;
  }
  throw new Error("another process listens on it");
}

/** @param inode Only if it is this one; `null`: any socket. */
function removeOwn(path: string, inode: number | null): void {
  try {
    const found = Deno.lstatSync(path);
    // A new process may have put its own socket there since.
    if (inode === null ? found.isSocket : found.ino === inode) Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
