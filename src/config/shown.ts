/**
 * A config that may be shown to people.
 *
 * @module
 */
import type { Config } from "./types.ts";

/** Fields that prove who one is. */
const SECRET_FIELD =
  /^(?:authorization|proxy-authorization|cookie)$|api-?key|token|secret|passw|credential|signature/i;

/**
 * The config as plain data, without what may be secret: keys, tokens, plugin configs, and fields and queries that
 * Sluice sends on its own behalf. Of fields that rules set on requests, those are left out whose name says so.
 */
export function shownConfig(config: Config): unknown {
  return JSON.parse(JSON.stringify(config, shown));
}

function shown(this: unknown, key: string, value: unknown): unknown {
  const holder = this as object;
  if ((key === "secret" || key === "token") && value !== null) return "(secret)";
  if (key === "url" && typeof value === "string") return value.replace(/\?.*$/s, "?(left out)");
  if (key === "request" && "respond" in holder) return withoutSecrets(value as RuleFields);
  // Those of answers that rules give are for everybody to see.
  if (key === "headers" && !("body" in holder && "status" in holder && !("type" in holder))) {
    return Object.fromEntries(fieldNames(value).map((name) => [name, "(left out)"]));
  }
  if (key === "clientCertificate" && value !== null) return { cert: "(PEM)", key: "(secret)" };
  // A PEM beside the file that it stands in says itself, below, what may be shown of it.
  if (key === "ca" && typeof value === "string") return "(PEM)";
  if (key === "pem") return "(PEM)";
  if (key === "config" && value !== undefined) return "(left out)";
  return value;
}

type RuleFields = Readonly<Record<string, string | null>>;

function withoutSecrets(fields: RuleFields): RuleFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value !== null && SECRET_FIELD.test(name) ? "(secret)" : value,
    ]),
  );
}

/** Names of fields, of a mapping or of a list of pairs. */
function fieldNames(fields: unknown): string[] {
  if (Array.isArray(fields)) return fields.map((pair) => String(pair[0]));
  return typeof fields === "object" && fields !== null ? Object.keys(fields) : [];
}
