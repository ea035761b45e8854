/**
 * What in a config is secret, by its place or by its name.
 *
 * @module
 */
import { pattern } from "./later.ts";

type Path = readonly PropertyKey[];

const SECRET_NAME =
  /^cookie$|(?:^|[-_])(?:auth|key)$|^x-auth|authorization|api-?key|token|secret|passw|credential|signature/i;

/** Whether a field, an argument or a setting of this name proves who one is. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

/** What stands in the place of a secret. */
export const SECRET: string = "(secret)";

/** A URL or a path without what may be secret: a user with a password, and the query. */
export function withoutCredentials(target: string): string {
  return target.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, "$1(left out)@")
    .replace(/\?.*$/s, "?(left out)");
}

/** Mappings of fields that Sluice sends on its own behalf. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  "upstreams[].discovery.headers",
  "upstreams[].health_check.active.headers",
  "upstreams[].transport.proxy.headers",
]);

/** Whether a place is in what a plugin is configured with. */
export function isOfPlugin(path: Path): boolean {
  return path.includes("with") && /\.plugins\[\]\.with(?:[.[]|$)/.test(pattern(path));
}

/**
 * Whether what stands at a place of the config file is not for everybody who may read a message about it.
 *
 * @param value What stands there; without it: whether some value could be.
 */
export function isSecretPlace(path: Path, value?: string): boolean {
  const place = pattern(path);
  const holder = pattern(path.slice(0, -1));
  const name = String(path.at(-1) ?? "");
  if (place === "admin.token" || place.endsWith(".sticky.secret")) return true;
  if (OWN_FIELDS.has(holder) || isOfPlugin(path)) return true;
  if ((name === "url" || name === "path") && value !== undefined) {
    return withoutCredentials(value) !== value;
  }
  if (/\.(?:match|when)\.header$/.test(holder) || holder.endsWith(".request.set")) {
    return isSecretName(name);
  }
  // Misspelled, or somewhere else than it belongs.
  if (/secret|token|passw|api-?key|authorization|credential/i.test(name)) return true;
  return name === "key" && (value === undefined || value.includes("PRIVATE KEY"));
}

/** Keys behind which the rest of a line is secret, where only the text is known. */
const SECRET_REST = /(["']?[\w-]+["']?)(\s*:\s+)/g;

/**
 * Puts stars over what looks secret in a line of a config that cannot be read as YAML. Its length stays.
 */
export function starredByName(line: string): string {
  if (/^\s*[A-Za-z0-9+/=]{24,}\s*$/.test(line)) return stars(line);
  const text = line.replace(/(?<=\/\/)[^/\s@]*(?=@)|\?[^\s"',}]*/g, stars);
  for (const match of text.matchAll(SECRET_REST)) {
    const name = match[1]!.replace(/["']/g, "");
    if (name !== "with" && name !== "headers" && !isSecretName(name)) continue;
    const from = match.index + match[0].length;
    const rest = text.slice(from);
    // `cert` and `key` mostly name files.
    if (name === "key" && !rest.includes("-----")) continue;
    return text.slice(0, from) + stars(rest);
  }
  return text;
}

/** Stars over all but white space and references, which tell no more than a name. */
export function stars(text: string): string {
  if (/^(["']?)\$\{(?:file:[^}]*|\w+)\}\1$/.test(text)) return text;
  return text.replace(/\$\{(?:file:[^}]*|\w+)\}|\S/g, (part) => part.length > 1 ? part : "*");
}
