/**
 * Calls into libc, for what the runtime has no call for. For the thread that may load libraries, which is not one that
 * serves.
 *
 * @module
 */

/** Whether this thread may call into libc and look at the sockets of the process, and the system has both. */
export function libcAvailable(): boolean {
  return Deno.build.os === "linux" &&
    Deno.permissions.querySync({ name: "ffi" }).state === "granted" &&
    Deno.permissions.querySync({ name: "read", path: "/proc" }).state === "granted";
}

/** Opens libc; `null` where that is not allowed or not possible. */
export function openLibc<const Symbols extends Deno.ForeignLibraryInterface>(
  symbols: Symbols,
): Deno.DynamicLibrary<Symbols> | null {
  if (!libcAvailable()) return null;
  // glibc and musl, by the name that both answer to.
  for (const name of ["libc.so.6", "libc.so"]) {
    try {
      return Deno.dlopen(name, symbols);
    } catch {
      // Not this one.
    }
  }
  return null;
}
