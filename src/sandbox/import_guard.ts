/**
 * Looks at every import of a plugin before any of its code runs.
 *
 * Permissions decide which files a plugin can import. They do not decide about built-in modules, some of
 * which lead out of a sandbox, nor about code that is no file. A hook that throws does not stop a static
 * import, so a forbidden one ends the sandbox instead.
 *
 * @module
 */
import * as nodeModule from "node:module";

/** Built-in modules without a way out: what they do is pure, or is checked against the permissions. */
const ALLOWED = new Set([
  "assert",
  "assert/strict",
  "buffer",
  "crypto",
  "events",
  "fs",
  "fs/promises",
  "path",
  "path/posix",
  "path/win32",
  "punycode",
  "querystring",
  "stream",
  "stream/promises",
  "stream/web",
  "string_decoder",
  "timers",
  "timers/promises",
  "url",
  "util",
  "util/types",
  "zlib",
]);

interface Resolved {
  readonly url: string;
}

interface ModuleHooks {
  registerHooks(hooks: {
    resolve(
      specifier: string,
      context: { readonly parentURL?: string | undefined },
      next: (specifier: string, context: unknown) => Resolved,
    ): Resolved;
  }): void;
}

/** What {@linkcode guardImports} needs. */
export interface GuardOptions {
  /** The plugin's folder, or its one file. Real path. */
  readonly root: string;
  /** Follows symbolic links. Taken before it is hidden. */
  readonly realPath: (path: string) => string;
  /** Reports a refused import and never returns. */
  readonly refuse: (specifier: string, importer: string) => never;
}

/** Watches over all imports from now on. */
export function guardImports(options: GuardOptions): void {
  const { registerHooks } = nodeModule as unknown as ModuleHooks;
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      if (!isAllowed(resolved.url, options)) options.refuse(specifier, context.parentURL ?? "");
      return resolved;
    },
  });
}

function isAllowed(url: string, options: GuardOptions): boolean {
  if (url.startsWith("node:")) return ALLOWED.has(url.slice(5));
  if (!url.startsWith("file:")) return url.startsWith("npm:");
  const path = decodeURIComponent(new URL(url).pathname);
  const { root } = options;
  if (path !== root && !path.startsWith(`${root}/`)) return true;
  let real: string;
  try {
    real = options.realPath(path);
  } catch {
    // Not there, or not readable: the loader says so in its own words.
    return true;
  }
  return real === root || real.startsWith(`${root}/`);
}
