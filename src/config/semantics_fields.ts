/**
 * What must hold for fields that the file names.
 *
 * @module
 */
import { fieldId, IS_HOP_BY_HOP } from "../http/field_names.ts";
import { checkFieldName, checkFieldValue, FieldError } from "../http/field_checks.ts";
import type { Path } from "./document.ts";
import type { Findings } from "./findings.ts";

/** What holds for the fields of one place beside the general rules. Names are in small letters. */
export interface FieldNames {
  /** Names that Sluice writes itself here, beside those of the connection. */
  readonly own?: ReadonlySet<string>;
  /** Names of the connection that may be set here all the same. */
  readonly allowed?: ReadonlySet<string>;
}

/** Checks fields that the file gives values to. */
export function checkFields(
  findings: Findings,
  path: Path,
  fields: Readonly<Record<string, unknown>>,
  names: FieldNames = {},
): void {
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(fields)) {
    const at = [...path, name];
    if (!checkName(findings, at, name, true, names)) continue;
    if (seen.has(name.toLowerCase())) {
      findings.atKey(at, `field ${JSON.stringify(name)} is set twice`, "keep one");
    }
    seen.add(name.toLowerCase());
    if (typeof value !== "string") continue;
    try {
      checkFieldValue(name, value);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      findings.at(
        at,
        `field ${JSON.stringify(name)} cannot have this value`,
        "a value holds no line breaks, control characters or characters over U+00FF",
      );
    }
  }
}

/** Checks a name of a field that the file sets or removes. */
export function checkName(
  findings: Findings,
  path: Path,
  name: string,
  isKey: boolean,
  names: FieldNames = {},
): boolean {
  const report = (message: string, remedy: string): false => {
    if (isKey) findings.atKey(path, message, remedy);
    else findings.at(path, message, remedy);
    return false;
  };
  try {
    checkFieldName(name);
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    return report(`${findings.quote(path, name)} is not a field name`, "use letters, digits and -");
  }
  const lower = name.toLowerCase();
  if (names.allowed?.has(lower) === true) return true;
  if (IS_HOP_BY_HOP[fieldId(lower)] === 1 || lower === "content-length") {
    return report(
      `field ${JSON.stringify(name)} belongs to the connection, and Sluice writes it itself`,
      "remove it here",
    );
  }
  if (names.own?.has(lower) === true) {
    return report(`field ${JSON.stringify(name)} is written by Sluice itself here`, "remove it");
  }
  return true;
}
