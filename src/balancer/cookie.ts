/**
 * One cookie of a request, found without taking the others apart.
 *
 * @module
 */
import type { Fields } from "../http/fields.ts";

/**
 * The value of the first cookie `name` as it was sent, quotes included, or `null` if there is none. Several Cookie
 * fields, as HTTP/2 may send them (RFC 9113 §8.2.3), are looked through in order.
 *
 * @param name Compared case-sensitively (RFC 6265 §5.4).
 */
export function cookieValue(fields: Fields, name: string): string | null {
  const lines = fields.getAll("cookie");
  for (let i = 0; i < lines.length; i++) {
    const value = cookieOf(lines[i]!, name);
    if (value !== null) return value;
  }
  return null;
}

function cookieOf(line: string, name: string): string | null {
  let start = 0;
  while (start < line.length) {
    let end = line.indexOf(";", start);
    if (end < 0) end = line.length;
    while (start < end && isSpace(line.charCodeAt(start))) start++;
    const equals = start + name.length;
    if (equals < end && line.charCodeAt(equals) === 61 && line.startsWith(name, start)) {
      let last = end;
      while (last > equals + 1 && isSpace(line.charCodeAt(last - 1))) last--;
      return line.slice(equals + 1, last);
    }
    start = end + 1;
  }
  return null;
}

function isSpace(code: number): boolean {
  return code === 32 || code === 9;
}
