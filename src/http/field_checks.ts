/**
 * What may be a field on the wire. See RFC 9110 §5.1 and §5.5.
 *
 * @module
 */

/** What may stand in a field name (RFC 9110 §5.6.2, token). */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NOT_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

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
  if (!TOKEN.test(name)) {
    throw new FieldError(
      `Cannot set a field: the name ${JSON.stringify(name)} is not a token (RFC 9110 §5.6.2)`,
    );
  }
}

/**
 * Checks a value before it is written; returns it without white space around.
 *
 * @throws {FieldError} If it holds CR, LF, NUL, another control character or a character over U+00FF.
 */
export function checkFieldValue(name: string, value: string): string {
  const trimmed = value.replace(/^[\t ]+|[\t ]+$/g, "");
  const bad = NOT_IN_VALUE.exec(trimmed);
  if (bad !== null) {
    const code = bad[0].codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
    throw new FieldError(
      `Cannot set field "${name}": its value holds U+${code}, which no field value may hold; encode it`,
    );
  }
  return trimmed;
}
