/**
 * Reading values that were not checked yet, so that names and references can be checked together with the
 * shape: what is of the wrong kind reads as if it were not there.
 *
 * @module
 */

/** The entries of a mapping. */
export function rawMap(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Record<string, unknown>
    : {};
}

/** The entries of a list. */
export function rawList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Text, or `null`. */
export function rawText(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
