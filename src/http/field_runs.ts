/**
 * Lines of fields that lie one behind the other and go on together, in one copy.
 *
 * @module
 */
import { copyBytes } from "../base/bytes.ts";
import { CR, HTAB, LF, SPACE } from "./grammar.ts";

/** Copies lines as they lie, and ends the last one. Returns the position behind them. */
export function copyRun(
  out: Uint8Array,
  position: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  position = copyBytes(out, position, bytes, start, end);
  out[position++] = CR;
  out[position++] = LF;
  return position;
}

/** Whether nothing but white space and one CRLF lies between a value's end and the next name. */
export function isContiguous(bytes: Uint8Array, end: number, next: number): boolean {
  if (next - end === 2) return true;
  for (let i = end; i < next - 2; i++) if (bytes[i] !== SPACE && bytes[i] !== HTAB) return false;
  return next > end;
}
