/**
 * Which byte may stand where in a head: one table look-up instead of a row of comparisons.
 *
 * @module
 */

/** May stand in a token (RFC 9110 §5.6.2). */
export const TOKEN = 1;
/** May stand in a field value or reason phrase: HTAB, SP, VCHAR, obs-text (RFC 9110 §5.5). */
export const VALUE = 2;
/** May stand in the path of a target. What RFC 3986 allows, and the few more that browsers send as they are. */
export const PATH = 4;
/** May stand in the query of a target, the `?` included. */
export const QUERY = 8;
/** May stand in a registered name (RFC 3986 §3.2.2), except the comma: it would look like a list of hosts. */
export const NAME = 16;
/** May stand in an IP literal. */
export const LITERAL = 32;

/** The classes of every byte, as bits. */
export const CLASS: Uint8Array = new Uint8Array(256);

/** The value of a hexadecimal digit, or `-1`. */
export const HEX: Int8Array = new Int8Array(256).fill(-1);

export const HTAB = 9;
export const LF = 10;
export const CR = 13;
export const SPACE = 32;
export const ASTERISK = 42;
export const SLASH = 47;
export const COLON = 58;
export const SEMICOLON = 59;
export const QUESTION = 63;
export const BRACKET_OPEN = 91;
export const BRACKET_CLOSE = 93;

function mark(bit: number, characters: string): void {
  for (let i = 0; i < characters.length; i++) CLASS[characters.charCodeAt(i)]! |= bit;
}

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS = "0123456789";
mark(TOKEN, LETTERS + DIGITS + "!#$%&'*+-.^_`|~");
mark(VALUE, "\t ");
for (let c = 0x21; c < 256; c++) if (c !== 0x7f) CLASS[c]! |= VALUE;
// Browsers escape `"`, `<`, `>` and the `#` never travels; they do send the rest (WHATWG URL, query state).
// In a path `\` would be a `/` to some origins, and no browser sends it there.
for (let c = 0x21; c < 0x7f; c++) {
  if ('"<>#'.includes(String.fromCharCode(c))) continue;
  CLASS[c]! |= QUERY;
  if (c !== QUESTION && c !== 0x5c) CLASS[c]! |= PATH;
}
mark(NAME, LETTERS + DIGITS + "-._~%!$&'()*+;=");
mark(LITERAL, "0123456789abcdefABCDEF:.");
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}
