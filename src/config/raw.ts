/**
 * Reading values that were not checked yet, so that names and references can be checked together with the
 * shape: what is of the wrong kind reads as if it were not there.
 *
 * @module
 */
import { parseDuration, parsePercent } from "./units.ts";

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

/** A whole number, or `null`. */
export function rawInteger(value: unknown): number | null {
  const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isInteger(number) ? number : null;
}

/** A duration in milliseconds, or `null`. */
export function rawDuration(value: unknown): number | null {
  if (value === 0) return 0;
  const ms = typeof value === "string" ? parseDuration(value) : "";
  return typeof ms === "number" ? ms : null;
}

/** A percentage as a share from 0 to 1, or `null`. */
export function rawPercent(value: unknown): number | null {
  const share = typeof value === "string" ? parsePercent(value) : "";
  return typeof share === "number" ? share : null;
}

/** `true` or `false`, or `null`. */
export function rawYesNo(value: unknown): boolean | null {
  if (value === true || value === "true") return true;
  return value === false || value === "false" ? false : null;
}

/** The keys that a mapping has, without those that are the user's own. */
export function rawKeys(map: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(map).filter((key) => !key.startsWith("x-"));
}
