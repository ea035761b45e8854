/**
 * Bytes from one thread to another through memory that both see.
 *
 * One side writes and the other reads, so no lock is needed: each moves a position of its own, and never
 * beyond that of the other. A position counts words modulo 2³²; its place in the memory is what is left of
 * the division by the capacity, a power of two. Bytes go word by word and by index alone: a plugin that
 * shares the realm with the reader cannot get between, whatever it does to prototypes. Both sides keep their
 * position to themselves and only say it, so what the other side scribbles can confuse, but not lead outside.
 *
 * @module
 */
import { ProtocolError } from "./protocol.ts";

// Taken now, because a plugin may replace them where it can reach them.
const { load, store, exchange } = Atomics;
const Words = Int32Array;

// Words at the beginning of a ring.
/** Position of the writer. */
const WRITTEN = 0;
/** Position of the reader. On a cache line of its own. */
const READ = 16;
/** 1 while the reader wants to be woken when something comes. */
const ASLEEP = 32;
/** 1 while the writer wants to be woken when there is room. */
const CROWDED = 33;
const HEAD_WORDS = 48;

/** Bytes that a ring holds. */
export const RING_BYTES: number = 256 * 1024;
const CAPACITY = RING_BYTES / 4;
const MASK = CAPACITY - 1;
/** Where positions begin: so near to the end of the numbers that running over it is nothing rare. */
const FIRST = 2 ** 31 - 2 * CAPACITY;
/** Bytes of memory that a ring takes. */
export const RING_MEMORY: number = HEAD_WORDS * 4 + RING_BYTES;

/** Makes the memory of one ring, or of several. `null` where threads share none. */
export function makeRingMemory(rings: number): SharedArrayBuffer | null {
  if (typeof SharedArrayBuffer !== "function") return null;
  const memory = new SharedArrayBuffer(rings * RING_MEMORY);
  begin(memory);
  return memory;
}

/** Makes memory that nobody uses any more as it was when it was made. */
export function resetRingMemory(memory: SharedArrayBuffer): void {
  new Words(memory).fill(0);
  begin(memory);
}

function begin(memory: SharedArrayBuffer): void {
  for (let at = 0; at < memory.byteLength; at += RING_MEMORY) {
    const head = new Words(memory, at, HEAD_WORDS);
    store(head, WRITTEN, FIRST);
    store(head, READ, FIRST);
  }
}

/** The side that writes. */
export class RingWriter {
  readonly #head: Int32Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;
  #written = FIRST;

  /** @param ring Which of the rings in this memory. */
  constructor(memory: SharedArrayBuffer, ring: number) {
    this.#head = new Words(memory, ring * RING_MEMORY, HEAD_WORDS);
    this.#words = new Words(memory, ring * RING_MEMORY + HEAD_WORDS * 4, CAPACITY);
  }

  /**
   * Writes as much as there is room for.
   *
   * @param bytes Its buffer begins at a multiple of four, as do `from` and `to`.
   * @returns Where it stopped.
   * @throws {ProtocolError} If the reader's position cannot be.
   */
  write(bytes: Uint8Array<ArrayBuffer>, from: number, to: number): number {
    const used = (this.#written - load(this.#head, READ)) >>> 0;
    if (used > CAPACITY) throw new ProtocolError("the position of its reader cannot be");
    const count = Math.min(CAPACITY - used, (to - from) >> 2);
    const source = new Words(bytes.buffer, bytes.byteOffset + from, count);
    const target = this.#words;
    const written = this.#written;
    for (let i = 0; i < count; i++) target[(written + i) & MASK] = source[i]!;
    this.#written = (written + count) | 0;
    store(this.#head, WRITTEN, this.#written);
    return from + count * 4;
  }

  /** Whether the reader sleeps. Says so once: who asks must wake it. */
  mustWake(): boolean {
    return load(this.#head, ASLEEP) !== 0 && exchange(this.#head, ASLEEP, 0) !== 0;
  }

  /**
   * Asks to be woken when there is room.
   *
   * @returns Whether there is none; if there is, nobody will wake.
   */
  waitForRoom(): boolean {
    store(this.#head, CROWDED, 1);
    if (((this.#written - load(this.#head, READ)) >>> 0) === CAPACITY) return true;
    store(this.#head, CROWDED, 0);
    return false;
  }
}

/** The side that reads. */
export class RingReader {
  readonly #head: Int32Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;
  #read = FIRST;

  /** @param ring Which of the rings in this memory. */
  constructor(memory: SharedArrayBuffer, ring: number) {
    this.#head = new Words(memory, ring * RING_MEMORY, HEAD_WORDS);
    this.#words = new Words(memory, ring * RING_MEMORY + HEAD_WORDS * 4, CAPACITY);
  }

  /**
   * Copies what was written, as far as it fits.
   *
   * @param into Begins at a multiple of four.
   * @returns Bytes that were copied.
   * @throws {ProtocolError} If the writer's position cannot be.
   */
  read(into: Uint8Array<ArrayBuffer>): number {
    const waiting = (load(this.#head, WRITTEN) - this.#read) >>> 0;
    if (waiting === 0) return 0;
    if (waiting > CAPACITY) throw new ProtocolError("the position of its writer cannot be");
    const count = Math.min(waiting, into.length >> 2);
    const target = new Words(into.buffer, into.byteOffset, count);
    const source = this.#words;
    const read = this.#read;
    for (let i = 0; i < count; i++) target[i] = source[(read + i) & MASK]!;
    this.#read = (read + count) | 0;
    store(this.#head, READ, this.#read);
    return count * 4;
  }

  /** Whether something has come that was not read. */
  get hasCome(): boolean {
    return load(this.#head, WRITTEN) !== this.#read;
  }

  /** Takes back what `sleep` has asked for. */
  wake(): void {
    store(this.#head, ASLEEP, 0);
  }

  /** Whether the writer waits for room. Says so once: who asks must wake it. */
  mustWake(): boolean {
    return load(this.#head, CROWDED) !== 0 && exchange(this.#head, CROWDED, 0) !== 0;
  }

  /**
   * Asks to be woken when something comes.
   *
   * @returns Whether there is nothing yet; if there is, nobody will wake.
   */
  sleep(): boolean {
    store(this.#head, ASLEEP, 1);
    if (load(this.#head, WRITTEN) === this.#read) return true;
    store(this.#head, ASLEEP, 0);
    return false;
  }
}
