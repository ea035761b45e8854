/**
 * Looks at every import of a plugin before any of its code runs.
 *
 * Permissions decide which files a plugin can import. They do not decide about built-in modules, some of
 * which lead out of a sandbox, nor about code that is no file. A hook that throws does not stop a static
 * import, but one that leads it astray does: the graph then fails to load, before any of it has run.
 *
 * @module
 */
import * as nodeModule from "node:module";

/**
 * Built-in modules without a way out: what they do is pure, or is checked against the permissions.
 *
 * A null-prototype object and not a set: the plugin shares this realm and may replace what prototypes say.
 */
const ALLOWED: Readonly<Record<string, true>> = Object.freeze({
  __proto__: null,
  "node:assert": true,
  "node:assert/strict": true,
  "node:buffer": true,
  "node:crypto": true,
  "node:events": true,
  "node:fs": true,
  "node:fs/promises": true,
  "node:path": true,
  "node:path/posix": true,
  "node:path/win32": true,
  "node:punycode": true,
  "node:querystring": true,
  "node:stream": true,
  "node:stream/promises": true,
  "node:stream/web": true,
  "node:string_decoder": true,
  "node:timers": true,
  "node:timers/promises": true,
  "node:url": true,
  "node:util": true,
  "node:util/types": true,
  "node:zlib": true,
} as unknown as Record<string, true>);

/** A file that is not there. */
const NOWHERE = "file:///sluice-refused-import";

interface Resolved {
  readonly url: string;
  readonly shortCircuit?: boolean;
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
  /** Reports a refused import. The sandbox is to be ended then, but need not be at once. */
  readonly refuse: (specifier: string, importer: string) => void;
}

/** Watches over all imports from now on. */
export function guardImports(options: GuardOptions): void {
  const { registerHooks } = nodeModule as unknown as ModuleHooks;
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      if (isAllowed(resolved.url, options)) return resolved;
      options.refuse(specifier, context.parentURL ?? "");
      return { url: NOWHERE, shortCircuit: true };
    },
  });
}

function isAllowed(url: string, options: GuardOptions): boolean {
  if (begins(url, "node:")) return ALLOWED[url] === true;
  if (!begins(url, "file:")) return begins(url, "npm:");
  const path = decodeURIComponent(new URL(url).pathname);
  const { root } = options;
  if (path !== root && !begins(path, `${root}/`)) return true;
  let real: string;
  try {
    real = options.realPath(path);
  } catch {
    // Not there, or not readable: the loader says so in its own words.
    return true;
  }
  return real === root || begins(real, `${root}/`);
}

/** `startsWith` that nobody can replace. */
function begins(text: string, prefix: string): boolean {
  for (let i = 0; i < prefix.length; i++) if (text[i] !== prefix[i]) return false;
  return true;
}
