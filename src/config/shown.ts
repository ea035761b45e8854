/**
 * A config that may be shown to people.
 *
 * @module
 */
import { isSecretName, SECRET, withoutCredentials } from "./secrets.ts";
import { outsideTexts } from "./outside.ts";
import type { Config } from "./types.ts";

/**
 * The config as plain data, without what may be secret: keys, tokens, plugin configs, and fields and queries that
 * Sluice sends on its own behalf. Of fields that rules set on requests and that routes look for, those are left out
 * whose name says so, and those that come from the environment or a file.
 */
export function shownConfig(config: Config): unknown {
  const outside = outsideTexts(config);
  return JSON.parse(JSON.stringify(config, function (this: unknown, key, value: unknown) {
    return shown(this as object, key, value, outside);
  }));
}

function shown(holder: object, key: string, value: unknown, outside: readonly string[]): unknown {
  if ((key === "secret" || key === "token") && value !== null) return SECRET;
  if (key === "url" && typeof value === "string") return withoutCredentials(value);
  if (key === "path" && "bodyBytes" in holder) return withoutCredentials(String(value));
  if (key === "request" && "respond" in holder) return shownFields(value as Fields, outside);
  if (key === "header" && isMapping(value)) return shownFields(value as Fields, outside);
  // Those of answers that rules give are for everybody to see.
  if (key === "headers" && !("body" in holder && "status" in holder && !("type" in holder))) {
    return Object.fromEntries(fieldNames(value).map((name) => [name, "(left out)"]));
  }
  if (key === "clientCertificate" && value !== null) return { cert: "(PEM)", key: SECRET };
  // A PEM beside the file that it stands in says itself, below, what may be shown of it.
  if (key === "ca" && typeof value === "string") return "(PEM)";
  if (key === "pem") return "(PEM)";
  if (key === "config" && value !== undefined) return "(left out)";
  return value;
}

type Fields = Readonly<Record<string, string | boolean | null>>;

/**
 * Fields that rules set or routes look for, as they may be shown.
 *
 * @param outside What came from the environment and from files.
 */
export function shownFields<T extends Fields>(fields: T, outside: readonly string[]): T {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === "string" &&
        (isSecretName(name) || outside.some((text) => value.includes(text)))
        ? SECRET
        : value,
    ]),
  ) as T;
}

function isMapping(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Names of fields, of a mapping or of a list of pairs. */
function fieldNames(fields: unknown): string[] {
  if (Array.isArray(fields)) return fields.map((pair) => String(pair[0]));
  return typeof fields === "object" && fields !== null ? Object.keys(fields) : [];
}
