import type { LineSink } from "../../src/observe/line_sink.ts";

/** A sink in memory that can be made to stall or to fail. */
export class MemorySink implements LineSink {
  readonly name = "memory";
  readonly atomicBytes: number;
  readonly writes: string[] = [];
  reopened = 0;
  closed = false;
  failure: Error | null = null;
  /** Most bytes that one write takes. */
  most = Infinity;
  #gate: Promise<void> | null = null;
  #open: (() => void) | null = null;

  constructor(atomicBytes = 0) {
    this.atomicBytes = atomicBytes;
  }

  get text(): string {
    return this.writes.join("");
  }

  get lines(): string[] {
    return this.text.split("\n").slice(0, -1);
  }

  /** Lets no write through until `resume`. */
  stall(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  resume(): void {
    this.#open?.();
    this.#gate = null;
  }

  async write(bytes: Uint8Array): Promise<number> {
    await this.#gate;
    if (this.failure !== null) throw this.failure;
    const taken = bytes.subarray(0, this.most);
    this.writes.push(new TextDecoder().decode(taken));
    return taken.length;
  }

  reopen(): Promise<void> {
    this.reopened++;
    return Promise.resolve();
  }

  close(): void {
    this.closed = true;
  }
}
