/**
 * Which requests something is for: path, method, host and fields, tested on the head.
 *
 * Paths are compared in a normal form, so that two spellings of one path match alike: percent-encoded
 * unreserved characters are decoded (RFC 3986 §6.2.2.2), `//`, `/./` and `/../` are resolved (§5.2.4). What is
 * sent on is not changed. `%2F` stays `%2F`, nothing is decoded twice, and a `;` or a backslash is an ordinary
 * character. An upstream that reads such paths in its own way can still see another path than the one that was
 * matched: let what must be guarded refuse paths that hold them.
 *
 * @module
 */
import { checkFieldName, checkFieldValue } from "./field_checks.ts";
import type { RequestHead } from "./message.ts";

/** What to match. All parts that are there must hold; an empty one matches every request. */
export interface HeadMatch {
  /** `/exact`, `/prefix/*` (which is `/prefix` too, and all below), `*`; several are alternatives. */
  readonly path?: string | readonly string[];
  /** Methods, case-sensitive; several are alternatives. */
  readonly method?: string | readonly string[];
  /** `example.com`, `*.example.com` (all below, not itself), in any case and without port; several are alternatives. */
  readonly host?: string | readonly string[];
  /** Field name to value, which one of its lines must have; `true`: it must be there, `false`: it must not. */
  readonly header?: Readonly<Record<string, string | boolean>>;
}

/** A compiled match. */
export type HeadTest = (head: RequestHead) => boolean;

/** One part of a match as a list. */
export function alternatives(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === "string" ? [value] : value;
}

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const HOST_LABEL = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/i;

/**
 * Checks a match before it is compiled.
 *
 * @returns The part that is wrong and why, or `null`.
 */
export function matchError(
  match: HeadMatch,
): { readonly part: "path" | "method" | "host" | "header"; readonly message: string } | null {
  for (const part of ["path", "method", "host"] as const) {
    const given = match[part];
    if (given === undefined) continue;
    const values = alternatives(given);
    if (values.length === 0) return { part, message: "an empty list matches nothing" };
    for (const value of values) {
      const message = part === "path"
        ? pathError(value)
        : part === "method"
        ? methodError(value)
        : hostError(value);
      if (message !== null) return { part, message };
    }
  }
  for (const [name, value] of Object.entries(match.header ?? {})) {
    try {
      checkFieldName(name);
      if (typeof value === "string" && checkFieldValue(name, value) !== value) {
        return { part: "header", message: `the value of "${name}" has white space around it` };
      }
    } catch {
      return { part: "header", message: `${JSON.stringify(name)} has a bad name or value` };
    }
  }
  return null;
}

function pathError(pattern: string): string | null {
  const shown = JSON.stringify(pattern);
  if (pattern === "*") return null;
  if (!pattern.startsWith("/")) return `path ${shown} must begin with "/"`;
  const star = pattern.indexOf("*");
  if (star >= 0 && (star !== pattern.length - 1 || pattern[star - 1] !== "/")) {
    return `path ${shown}: a "*" may only stand at the end, after a "/"`;
  }
  if (/[?#]/.test(pattern)) return `path ${shown} must not hold a query or fragment`;
  if (/[^\x21-\x7e]/.test(pattern)) return `path ${shown}: percent-encode what is not ASCII`;
  const literal = star < 0 ? pattern : pattern.slice(0, -1);
  const normal = normalPath(literal);
  if (normal === literal) return null;
  return `path ${shown} would never match, write ${
    JSON.stringify(star < 0 ? normal : `${normal}*`)
  }`;
}

function methodError(method: string): string | null {
  if (!METHOD.test(method)) return `${JSON.stringify(method)} is not a method`;
  const upper = method.toUpperCase();
  return method === upper || !KNOWN_METHODS.has(upper)
    ? null
    : `methods are case-sensitive, write "${upper}"`;
}

const KNOWN_METHODS = new Set(
  ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"],
);

function hostError(host: string): string | null {
  const shown = JSON.stringify(host);
  if (host === "*") return null;
  if (/^\[[0-9a-f:.]+\]$/i.test(host)) return null;
  const name = host.startsWith("*.") ? host.slice(2) : host;
  if (name.includes("*")) return `host ${shown}: a "*" may only stand for the first labels`;
  if (/:\d+$/.test(name)) return `host ${shown}: leave the port out`;
  if (name.endsWith(".")) return `host ${shown}: leave the dot at the end out`;
  if (!name.split(".").every((label) => HOST_LABEL.test(label))) {
    return `host ${shown} is not a host name`;
  }
  return null;
}

/**
 * Compiles a match that {@linkcode matchError} has nothing against.
 *
 * @returns A pure test, or `null` when every request matches.
 */
export function compileMatch(match: HeadMatch): HeadTest | null {
  const tests: HeadTest[] = [];
  const method = compileMethod(alternatives(match.method));
  if (method !== null) tests.push(method);
  const host = compileHost(alternatives(match.host));
  if (host !== null) tests.push(host);
  const path = compilePath(alternatives(match.path));
  if (path !== null) tests.push(path);
  for (const [name, value] of Object.entries(match.header ?? {})) {
    tests.push(compileHeader(name.toLowerCase(), value));
  }
  const [first, second] = tests;
  if (first === undefined) return null;
  if (second === undefined) return first;
  if (tests.length === 2) return (head) => first(head) && second(head);
  return (head) => {
    for (let i = 0; i < tests.length; i++) if (!tests[i]!(head)) return false;
    return true;
  };
}

function compileMethod(methods: readonly string[]): HeadTest | null {
  if (methods.length === 0) return null;
  if (methods.length === 1) {
    const only = methods[0]!;
    return (head) => head.method === only;
  }
  return (head) => methods.includes(head.method);
}

function compileHost(patterns: readonly string[]): HeadTest | null {
  if (patterns.length === 0 || patterns.includes("*")) return null;
  const exact = new Set<string>();
  const suffixes: string[] = [];
  for (const pattern of patterns) {
    const lower = pattern.toLowerCase();
    if (lower.startsWith("*.")) suffixes.push(lower.slice(1));
    else exact.add(lower);
  }
  return (head) => {
    const host = normalHost(head.authority);
    if (exact.has(host)) return true;
    for (let i = 0; i < suffixes.length; i++) {
      const suffix = suffixes[i]!;
      if (host.length > suffix.length && host.endsWith(suffix)) return true;
    }
    return false;
  };
}

function compilePath(patterns: readonly string[]): HeadTest | null {
  if (patterns.length === 0 || patterns.includes("*")) return null;
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const pattern of patterns) {
    if (pattern.endsWith("/*")) {
      const prefix = pattern.slice(0, -1);
      prefixes.push(prefix);
      if (prefix !== "/") exact.add(prefix.slice(0, -1));
    } else exact.add(pattern);
  }
  if (prefixes.length === 1 && exact.size <= 1) {
    const prefix = prefixes[0]!;
    const bare = prefix === "/" ? prefix : prefix.slice(0, -1);
    return (head) => {
      const path = pathOf(head);
      return path.startsWith(prefix) || path === bare;
    };
  }
  return (head) => {
    const path = pathOf(head);
    if (exact.has(path)) return true;
    for (let i = 0; i < prefixes.length; i++) if (path.startsWith(prefixes[i]!)) return true;
    return false;
  };
}

function compileHeader(name: string, value: string | boolean): HeadTest {
  if (typeof value === "boolean") return (head) => head.fields.has(name) === value;
  return (head) => {
    const found = head.fields.get(name);
    if (found === null) return false;
    // Joined lines hold a comma; a value with one may still be a single line.
    return found === value || (found.includes(",") && head.fields.getAll(name).includes(value));
  };
}

// Routes, rules and hooks all ask for the same head's path and host, one after the other.
let lastTarget = "";
let lastPath = "";
let lastAuthority = "";
let lastHost = "";

/** The path of a head in the form that patterns are compared with. */
export function pathOf(head: RequestHead): string {
  const target = head.target;
  if (target !== lastTarget) {
    const mark = target.indexOf("?");
    lastPath = normalPath(mark < 0 ? target : target.slice(0, mark));
    lastTarget = target;
  }
  return lastPath;
}

/** The host of an authority in lower case, without port and without the dot at its end. */
export function normalHost(authority: string): string {
  if (authority === lastAuthority) return lastHost;
  let host = authority;
  if (host.startsWith("[")) {
    const end = host.indexOf("]");
    host = end < 0 ? "" : host.slice(0, end + 1);
  } else {
    const colon = host.indexOf(":");
    if (colon >= 0) host = host.slice(0, colon);
    if (host.endsWith(".")) host = host.slice(0, -1);
  }
  // No Host field may hold user information (RFC 9110 §4.2.4); never let it pass for a host.
  if (authority.includes("@")) host = "";
  lastAuthority = authority;
  lastHost = host.toLowerCase();
  return lastHost;
}

/** Brings a path into the form that patterns are compared with. Anything but an absolute path stays as it is. */
export function normalPath(path: string): string {
  if (path.charCodeAt(0) !== 47) return path;
  if (!path.includes("%") && !path.includes("//") && !path.includes("/.")) return path;
  const decoded = path.includes("%") ? decodeUnreserved(path) : path;
  if (!decoded.includes("//") && !decoded.includes("/.")) return decoded;
  const kept: string[] = [];
  const segments = decoded.split("/");
  const last = segments.length - 1;
  for (let i = 1; i <= last; i++) {
    const segment = segments[i]!;
    if (segment === "..") kept.pop();
    // Empty segments vanish; the last one stands for the slash at the end.
    else if (segment !== "." && segment !== "") kept.push(segment);
  }
  const end = segments[last]!;
  const folder = end === "" || end === "." || end === "..";
  return kept.length === 0 ? "/" : `/${kept.join("/")}${folder ? "/" : ""}`;
}

function decodeUnreserved(path: string): string {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (_whole, hex: string) => {
    const code = parseInt(hex, 16);
    const letter = (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
    // ALPHA / DIGIT / "-" / "." / "_" / "~" (RFC 3986 §2.3).
    if (
      letter || (code >= 48 && code <= 57) || code === 45 || code === 46 || code === 95 ||
      code === 126
    ) {
      return String.fromCharCode(code);
    }
    return `%${hex.toUpperCase()}`;
  });
}
