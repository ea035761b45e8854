/**
 * Makes config data unchangeable.
 *
 * @module
 */

/** Freezes a plain value with all that it holds. */
export function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) freeze(inner);
  return value;
}
