/**
 * Whether a request's path is one that must be guarded, in any way that an upstream could read it.
 *
 * Sluice sends the path on as it came, and upstreams differ in how they read one: some decode `%2F`, take a
 * backslash for a slash, cut `;parameters` off or fold case. A guard that knew one reading only would be
 * walked around. So a path counts as protected when any of the readings is.
 *
 * @module
 */

/** Decoding goes on until nothing changes, but not for ever. */
const MAX_DECODES = 4;

/**
 * Compiles patterns.
 *
 * @param patterns `/exact`, `/prefix/*` (which is `/prefix` too, and all below), `/*` for everything.
 * @returns A test that takes the path of a request without its query.
 */
export function protectPaths(patterns: readonly string[]): (path: string) => boolean {
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const pattern of patterns) {
    const path = pattern.toLowerCase();
    if (path.endsWith("/*")) {
      prefixes.push(path.slice(0, -1));
      exact.add(path === "/*" ? "/" : path.slice(0, -2));
    } else exact.add(path);
  }
  const guards = (path: string): boolean => {
    // A slash at the end seldom makes a difference to an upstream.
    if (
      exact.has(path) || (path.length > 1 && path.endsWith("/") && exact.has(path.slice(0, -1)))
    ) {
      return true;
    }
    return prefixes.some((prefix) => path.startsWith(prefix));
  };
  const all = prefixes.includes("/");
  return (path) => all || readings(path).some(guards);
}

/** The ways to read a path, in lower case. */
export function readings(path: string): string[] {
  const found = new Set<string>();
  let decoded = path.toLowerCase();
  for (let i = 0; i <= MAX_DECODES; i++) {
    for (const text of [decoded, decoded.replaceAll("\\", "/")]) {
      found.add(text).add(resolve(text));
      const bare = text.replace(/;[^/]*/g, "");
      found.add(bare).add(resolve(bare));
    }
    const next = decodeOnce(decoded);
    if (next === decoded) break;
    decoded = next;
  }
  return [...found];
}

/** Decodes each `%XX` that is ASCII; what is not is no part of a pattern either. */
function decodeOnce(path: string): string {
  return path.replace(
    /%([0-7][0-9a-f])/g,
    (_whole, hex: string) => String.fromCharCode(parseInt(hex, 16)).toLowerCase(),
  );
}

/** Resolves `//`, `/./` and `/../` (RFC 3986 §5.2.4). */
function resolve(path: string): string {
  const kept: string[] = [];
  const segments = path.split("/");
  for (const segment of segments) {
    if (segment === "..") kept.pop();
    else if (segment !== "" && segment !== ".") kept.push(segment);
  }
  const last = segments.at(-1);
  const folder = last === "" || last === "." || last === "..";
  return kept.length === 0 ? "/" : `/${kept.join("/")}${folder ? "/" : ""}`;
}
