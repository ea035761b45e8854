/**
 * A socket handler for tests: keeps what arrives and lets a test wait for it.
 *
 * @module
 */
import type { ProxyError } from "../../src/base/error.ts";
import type { Socket, SocketHandler } from "../../src/transport/socket.ts";
import { DEADLINE } from "./deadline.ts";

interface Waiting {
  readonly until: () => boolean;
  readonly resolve: () => void;
}

/** Records what a socket calls back. */
export class Recorder implements SocketHandler {
  readonly socket: Socket;
  readonly #buffer: Uint8Array;
  #chunks: Uint8Array[] = [];
  #waiting: Waiting[] = [];
  /** Whether to ask for the next read at once. */
  greedy = false;
  bytes = 0;
  reads = 0;
  ends = 0;
  drains = 0;
  errors: ProxyError[] = [];

  constructor(socket: Socket, bufferSize = 64 * 1024) {
    this.socket = socket;
    this.#buffer = new Uint8Array(bufferSize);
    socket.handler = this;
  }

  readBuffer(): Uint8Array {
    return this.#buffer;
  }

  onRead(length: number): void {
    this.reads++;
    if (length === 0) this.ends++;
    this.bytes += length;
    this.#chunks.push(this.#buffer.slice(0, length));
    if (this.greedy && length > 0) this.socket.read();
    this.#check();
  }

  onDrain(): void {
    this.drains++;
    this.#check();
  }

  onError(error: ProxyError): void {
    this.errors.push(error);
    this.#check();
  }

  /** All that was read so far, as latin-1 text. */
  get text(): string {
    return this.#chunks.map((chunk) => String.fromCharCode(...chunk)).join("");
  }

  /** How often anything was called. */
  get calls(): number {
    return this.reads + this.drains + this.errors.length;
  }

  /** Drops what was kept, so that a long test does not hold it. */
  forget(): void {
    this.#chunks = [];
  }

  /** Resolves when `condition` holds; looked at after each call. Fails after {@link DEADLINE}. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new Error(
            `Waiting in vain: ${this.bytes} bytes, ${this.reads} reads, ${this.ends} ends, ` +
              `${this.drains} drains, errors: ${this.errors.map((error) => error.explain())}`,
          ),
        );
      }, DEADLINE);
      this.#waiting.push({
        until: condition,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
      });
    });
  }

  #check(): void {
    const still: Waiting[] = [];
    for (const one of this.#waiting) {
      if (one.until()) one.resolve();
      else still.push(one);
    }
    this.#waiting = still;
  }
}

/** Lets everything that is ready run: timers due now, I/O that is there, microtasks. */
export async function settle(turns = 5): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Sockets that this process holds open; Linux only. To be asked for in `*_alone_test.ts`, which share it with nobody. */
export function openSockets(): number {
  let count = 0;
  for (const entry of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${entry.name}`).startsWith("socket:")) count++;
    } catch {
      // The descriptor of this very listing.
    }
  }
  return count;
}

/** Waits until the process holds at most `count` sockets; returns how many it holds then, or after five seconds. */
export async function socketsDownTo(count: number): Promise<number> {
  for (let turn = 0; turn < 100 && openSockets() > count; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return openSockets();
}
