/**
 * Where the fields of a section lie in its bytes: arrays that are handed out again, so that a request allocates none.
 *
 * @module
 */

/** Numbers per entry: name start, name end, value start, value end, field id. */
export const ENTRY = 5;
/** Entries of an array that is handed out again. */
export const INDEX_ENTRIES = 128;
const MAX_FREE = 512;

const free: Int32Array[] = [];

/** An array with room for so many entries, holding whatever its last owner left. */
export function takeIndex(entries: number): Int32Array {
  if (entries <= INDEX_ENTRIES) return free.pop() ?? new Int32Array(INDEX_ENTRIES * ENTRY);
  return new Int32Array(entries * ENTRY);
}

/** Gives an array of {@linkcode takeIndex} back. */
export function giveIndex(index: Int32Array): void {
  if (index.length === INDEX_ENTRIES * ENTRY && free.length < MAX_FREE) free.push(index);
}
