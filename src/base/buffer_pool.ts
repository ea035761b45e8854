/**
 * Byte buffers that are handed out again, so that a request allocates none.
 *
 * Sizes are powers of two. Who takes a buffer owns it until it gives it back, and gives it back once: never
 * while a socket may still read into it or write from it.
 *
 * @module
 */

/** The smallest buffer: what an idle connection holds. */
export const SMALL_BUFFER = 2 * 1024;
/** What content is read into at first, and as long as it trickles. */
export const FIRST_BODY_BUFFER = 8 * 1024;
/** What content is read into when it comes faster than that. */
export const BODY_BUFFER = 64 * 1024;
/** What content is read into after its first MiB. */
export const LARGE_BODY_BUFFER = 256 * 1024;

const SMALLEST = Math.log2(SMALL_BUFFER);
const LARGEST = 20;
/** Most bytes kept per size; what is over it is left to the garbage collector. */
const KEPT_BYTES = 8 * 1024 * 1024;

const free: Uint8Array[][] = Array.from({ length: LARGEST - SMALLEST + 1 }, () => []);

/** Stands for "no buffer"; giving it back does nothing. */
export const NO_BUFFER: Uint8Array = new Uint8Array(0);

/** A buffer of at least `size` bytes, holding whatever its last owner left. */
export function takeBuffer(size: number): Uint8Array {
  const power = Math.max(SMALLEST, 32 - Math.clz32(size - 1));
  if (power > LARGEST) return new Uint8Array(size);
  return free[power - SMALLEST]!.pop() ?? new Uint8Array(1 << power);
}

/** Gives a buffer of {@linkcode takeBuffer} back. */
export function giveBuffer(bytes: Uint8Array): void {
  const power = 31 - Math.clz32(bytes.length);
  if (power < SMALLEST || power > LARGEST || bytes.length !== 1 << power) return;
  const list = free[power - SMALLEST]!;
  if (list.length * bytes.length < KEPT_BYTES) list.push(bytes);
}
