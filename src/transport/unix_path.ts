/**
 * The file of a unix socket: who may bind it, who may use it, and who takes it away.
 *
 * @module
 */

/** How to bind. */
export interface UnixBindOptions {
  /** Mode of the socket's file. */
  readonly mode: number;
  /** Default `null`: whoever runs this owns it. */
  readonly owner?: UnixOwner | null;
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

/**
 * Binds a unix socket. A file that a dead process left behind is removed first; one on which somebody listens, or
 * that is no socket, is left alone.
 *
 * @throws {Error} If the path is in use or cannot be bound.
 */
export async function bindUnix(path: string, options: UnixBindOptions): Promise<UnixBinding> {
  if (path.startsWith("\0")) {
    return { listener: Deno.listen({ transport: "unix", path }), release: () => {} };
  }
  await removeStale(path);
  const listener = Deno.listen({ transport: "unix", path });
  try {
    Deno.chmodSync(path, options.mode);
    if (options.owner) Deno.chownSync(path, options.owner.user, options.owner.group);
    const inode = Deno.lstatSync(path).ino;
    return { listener, release: () => removeOwn(path, inode) };
  } catch (error) {
    listener.close();
    throw error;
  }
}

async function removeStale(path: string): Promise<void> {
  let found: Deno.FileInfo;
  try {
    found = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (!found.isSocket) throw new Error("there is a file of that name which is not a socket");
  try {
    const connection = await Deno.connect({ transport: "unix", path });
    connection.close();
  } catch (error) {
    // Refused is the one answer that says that nobody listens; a full queue, say, does not.
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    removeOwn(path, found.ino);
    return;
  }
  throw new Error("another process listens on it");
}

function removeOwn(path: string, inode: number | null): void {
  try {
    // A new process may have put its own socket there since.
    if (Deno.lstatSync(path).ino === inode) Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
