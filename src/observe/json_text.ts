/**
 * JSON strings made by hand, in plain ASCII, for lines that are written once per request.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Characters kept of one text; what a client sends must not make lines of any length. */
export const MOST_CHARACTERS = 2048;

// deno-lint-ignore no-control-regex -- control characters are what it looks for
const UNSAFE = /[\x00-\x1f"\\\x7f-\uffff]/;
// deno-lint-ignore no-control-regex -- control characters are what it looks for
const UNSAFE_ALL = /[\x00-\x1f"\\\x7f-\uffff]/g;
// deno-lint-ignore no-control-regex -- the characters that one byte can stand for
const LATIN1 = /^[\x00-\xff]*$/;
// deno-lint-ignore no-control-regex -- what is the same in every encoding
const ASCII = /^[\x00-\x7f]*$/;

/**
 * A JSON string with its quotes. Text as bytes came in (latin-1) that is well-formed UTF-8 is read as UTF-8.
 * Everything but printable ASCII is escaped, so that a line stays one line in any reader.
 */
export function jsonText(text: string): string {
  const short = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}\u2026` : text;
  if (!UNSAFE.test(short)) return `"${short}"`;
  return `"${decodeBytes(short).replace(UNSAFE_ALL, escape)}"`;
}

function escape(character: string): string {
  if (character === '"') return '\\"';
  if (character === "\\") return "\\\\";
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function decodeBytes(text: string): string {
  if (ASCII.test(text) || !LATIN1.test(text)) return text;
  const decoded = Buffer.from(text, "latin1").toString("utf8");
  return decoded.includes("\ufffd") ? text : decoded;
}

/** A JSON number with at most three decimals; what is no number is `0`. */
export function jsonNumber(value: number): string {
  if (!Number.isFinite(value)) return "0";
  return String(Number.isInteger(value) ? value : Math.round(value * 1000) / 1000);
}

let lastSecond = -1;
let lastText = "";

/** RFC 3339 with milliseconds, in UTC. */
export function timestamp(ms: number): string {
  const whole = Math.floor(ms);
  const second = Math.floor(whole / 1000);
  if (second !== lastSecond) {
    lastText = new Date(second * 1000).toISOString().slice(0, 20);
    lastSecond = second;
  }
  return `${lastText}${String(whole - second * 1000).padStart(3, "0")}Z`;
}
