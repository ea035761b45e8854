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
