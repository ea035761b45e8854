/**
 * What may be a field on the wire. See RFC 9110 §5.1 and §5.5.
 *
 * @module
 */

import { CLASS, HTAB, SPACE, TOKEN, VALUE } from "./grammar.ts";

/** Thrown for a field that would not be one field on the wire. */
export class FieldError extends TypeError {
  override readonly name: string = "FieldError";
}

/**
 * Checks a name before it is written.
 *
 * @throws {FieldError} If it is not a token.
 */
export function checkFieldName(name: string): void {
  // By table, because an expression takes longer to begin than a name to end.
  let i = 0;
  while (i < name.length && (CLASS[name.charCodeAt(i)]! & TOKEN) !== 0) i++;
  if (i === name.length && i > 0) return;
  throw new FieldError(
    `Cannot set a field: the name ${JSON.stringify(name)} is not a token (RFC 9110 §5.6.2)`,
  );
}

/**
 * Checks a value before it is written; returns it without white space around.
 *
 * @throws {FieldError} If it holds CR, LF, NUL, another control character or a character over U+00FF.
 */
export function checkFieldValue(name: string, value: string): string {
  const { length } = value;
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if ((CLASS[code]! & VALUE) !== 0) continue;
    const text = code.toString(16).toUpperCase().padStart(4, "0");
    throw new FieldError(
      `Cannot set field "${name}": its value holds U+${text}, which no field value may hold; encode it`,
    );
  }
  let start = 0;
  let end = length;
  while (start < end && isSpace(value.charCodeAt(start))) start++;
  while (end > start && isSpace(value.charCodeAt(end - 1))) end--;
  return end - start === length ? value : value.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === SPACE || code === HTAB;
}
