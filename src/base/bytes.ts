/**
 * Copying bytes without making a view of them where that costs more than the copying.
 *
 * @module
 */

/** So many bytes are copied one by one before a view of them, which has to be made first, is the quicker way. */
const FEW_BYTES = 64;

/** Copies `bytes[start, end)`; returns the position behind them. */
export function copyBytes(
  out: Uint8Array,
  position: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  if (end - start > FEW_BYTES) {
    out.set(bytes.subarray(start, end), position);
    return position + end - start;
  }
  while (start < end) out[position++] = bytes[start++]!;
  return position;
}

/** Whether `length` bytes are the same in both, from where each starts. */
export function sameBytes(
  a: Uint8Array,
  aStart: number,
  b: Uint8Array,
  bStart: number,
  length: number,
): boolean {
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}
