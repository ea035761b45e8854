/**
 * The clock by which the kernel and its service manager measure, which the runtime does not show.
 *
 * @module
 */
import { openLibc } from "../transport/libc.ts";

const SYMBOLS = {
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
} as const;
const CLOCK_MONOTONIC = 1;

/** CLOCK_MONOTONIC: the same for all processes of the system. */
export class KernelClock {
  readonly #libc: Deno.DynamicLibrary<typeof SYMBOLS>;
  /** `struct timespec`: seconds and nanoseconds. */
  readonly #time = new BigInt64Array(2);

  private constructor(libc: Deno.DynamicLibrary<typeof SYMBOLS>) {
    this.#libc = libc;
  }

  /** Loads libc; `null` where that is not allowed or not possible. */
  static open(): KernelClock | null {
    const libc = openLibc(SYMBOLS);
    return libc === null ? null : new KernelClock(libc);
  }

  /** Microseconds; `null` if the kernel does not tell. */
  now(): bigint | null {
    if (this.#libc.symbols.clock_gettime(CLOCK_MONOTONIC, this.#time) !== 0) return null;
    return this.#time[0]! * 1_000_000n + this.#time[1]! / 1_000n;
  }

  close(): void {
    this.#libc.close();
  }
}
