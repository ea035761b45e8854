/**
 * The credentials of HTTP Basic authentication (RFC 7617).
 *
 * @module
 */

/** Longer ones are nobody's, and would only cost hashing. */
const MAX_LENGTH = 1024;

/** A user and a password, as sent. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

// "Basic" in any case, spaces, then token68; padding is optional because some clients leave it out.
const FORM = /^basic +([A-Za-z0-9+/]+={0,2})$/i;

/**
 * Reads an `Authorization` field.
 *
 * @param values Each line of the field. More than one is refused: an upstream could read another than we do.
 * @returns `null` if there are no well-formed Basic credentials.
 */
export function readCredentials(values: readonly string[]): Credentials | null {
  const [field] = values;
  if (values.length !== 1 || field === undefined || field.length > MAX_LENGTH) return null;
  const encoded = FORM.exec(field)?.[1];
  if (encoded === undefined) return null;
  let text: string;
  try {
    const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
  const colon = text.indexOf(":");
  // Control characters are in neither part (RFC 7617 §2).
  if (colon < 0 || /\p{Cc}/u.test(text)) return null;
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
