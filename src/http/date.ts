/**
 * The value of the `Date` field, made once per second.
 *
 * @module
 */
import { writeLatin1 } from "./fields.ts";

let second = -1;
let text = "";
const line: Uint8Array = new Uint8Array("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".length);

function refresh(): void {
  const now = Math.floor(Date.now() / 1000);
  if (now === second) return;
  second = now;
  // ECMA-262 gives exactly the IMF-fixdate of RFC 9110 §5.6.7.
  text = new Date(now * 1000).toUTCString();
  writeLatin1(line, 0, `Date: ${text}\r\n`);
}

/** The time now as an HTTP date (RFC 9110 §5.6.7). */
export function httpDate(): string {
  refresh();
  return text;
}

/** The whole line `Date: … CRLF` as bytes; good until the next call, to be copied at once. */
export function dateLine(): Uint8Array {
  refresh();
  return line;
}
