/**
 * Memory that was freed and that the allocator of libc keeps.
 *
 * Threads allocate from arenas, and an arena gives memory back only from its end. Where small blocks that live on
 * follow large ones that are freed, as where V8 compiles, nothing of it goes back to the system.
 *
 * @module
 */
import { openLibc } from "../transport/libc.ts";

const SYMBOLS = {
  // Of glibc. It looks through all that is free, which this thread has better things to do than wait for.
  malloc_trim: { parameters: ["usize"], result: "i32", nonblocking: true },
} as const;

/** Milliseconds between two times that memory is given back. */
const INTERVAL = 60_000;

/** Gives freed memory back to the system, once a minute. */
export class FreedMemory {
  readonly #libc: Deno.DynamicLibrary<typeof SYMBOLS> | null;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #underWay: Promise<void> | null = null;
  #closed = false;

  /** Begins; does nothing where calls into libc are not allowed, or it has none for this. */
  constructor() {
    this.#libc = openLibc(SYMBOLS);
    if (this.#libc === null) return;
    this.#timer = setInterval(() => void this.giveBack(), INTERVAL);
    // A program that cannot start is not to wait for this.
    Deno.unrefTimer(this.#timer);
  }

  /** Whether it can do anything. */
  get able(): boolean {
    return this.#libc !== null;
  }

  /** Gives back what is free now; resolves when that is done. */
  giveBack(): Promise<void> {
    if (this.#libc === null || this.#closed) return Promise.resolve();
    return this.#underWay ??= this.#call(this.#libc);
  }

  /** Ends it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    if (this.#underWay === null) this.#libc?.close();
  }

  async #call(libc: Deno.DynamicLibrary<typeof SYMBOLS>): Promise<void> {
    await libc.symbols.malloc_trim(0n);
    this.#underWay = null;
    // A library must stay for as long as a call into it runs.
    if (this.#closed) libc.close();
  }
}
