/**
 * The dynamic table (RFC 7541 §2.3.2, §4): a queue of `name: value CRLF` lines in one buffer.
 *
 * Lines are written one behind the other. When the end of the buffer is reached, the live ones are moved to
 * its front; the buffer is twice as long as the table may be, so that a byte is moved once on average.
 *
 * @module
 */
import { sameBytes } from "../../base/bytes.ts";

/** What an entry counts beside its name and value (RFC 7541 §4.1). */
export const ENTRY_OVERHEAD = 32;
/** Bytes in a line beside name and value: `: ` and CRLF. */
const LINE_EXTRA = 4;
/** Numbers per entry: start of the line, length of the name, length of the value, tag. */
const SLOT = 4;
const FIRST_BYTES = 1024;
const FIRST_SLOTS = 16;
const COLON = 58;
const SPACE = 32;
const CR = 13;
const LF = 10;

/** A bounded queue of fields; the newest is number 0. */
export class DynamicTable {
  /** What the lines lie in. Replaced when the table grows: read it anew after `insert`. */
  bytes: Uint8Array = new Uint8Array(0);
  #end = 0;
  #slots: Int32Array = new Int32Array(0);
  /** Entries ever inserted; the newest is in slot `(#inserted - 1) & #mask`. */
  #inserted = 0;
  #mask = 0;
  #count = 0;
  #size = 0;
  #maxSize: number;

  /** @param maxSize Bytes, counted as RFC 7541 §4.1 does. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** How many entries there are. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all entries, 32 for each included. */
  get size(): number {
    return this.#size;
  }

  /** Most bytes. */
  get maxSize(): number {
    return this.#maxSize;
  }

  /** How many entries were ever inserted. Entry number `n` is insertion `inserted - 1 - n`. */
  get inserted(): number {
    return this.#inserted;
  }

  /** Sets the most bytes; evicts what no longer fits (RFC 7541 §4.3). */
  resize(maxSize: number): void {
    this.#maxSize = maxSize;
    this.#evictTo(maxSize);
    // A buffer made for a larger table would stay for as long as the connection lives.
    if (this.#count === 0 && this.bytes.length > maxSize * 2) {
      this.bytes = new Uint8Array(0);
      this.#end = 0;
    }
  }

  /** Where the line of entry `number` begins in `bytes`. */
  start(number: number): number {
    return this.#slots[this.#slot(number)]!;
  }

  /** Length of the name of entry `number`. */
  nameLength(number: number): number {
    return this.#slots[this.#slot(number) + 1]!;
  }

  /** Length of the value of entry `number`. */
  valueLength(number: number): number {
    return this.#slots[this.#slot(number) + 2]!;
  }

  /** What was given to `insert` with entry `number`. */
  tag(number: number): number {
    return this.#slots[this.#slot(number) + 3]!;
  }

  /** Whether the name of entry `number` is that. */
  hasName(number: number, names: Uint8Array, start: number, length: number): boolean {
    const slot = this.#slot(number);
    const slots = this.#slots;
    return slots[slot + 1] === length && sameBytes(this.bytes, slots[slot]!, names, start, length);
  }

  /** Whether the value of entry `number` is that. */
  hasValue(number: number, values: Uint8Array, start: number, length: number): boolean {
    const slot = this.#slot(number);
    const slots = this.#slots;
    return slots[slot + 2] === length &&
      sameBytes(this.bytes, slots[slot]! + slots[slot + 1]! + 2, values, start, length);
  }

  /**
   * Inserts a field, evicting the oldest for it. One that is larger than the table empties it (§4.4).
   *
   * Name and value may lie anywhere but in this table's own buffer.
   *
   * @returns Whether it is in the table now.
   */
  insert(
    names: Uint8Array,
    nameStart: number,
    nameLength: number,
    values: Uint8Array,
    valueStart: number,
    valueLength: number,
    tag: number,
  ): boolean {
    const size = nameLength + valueLength + ENTRY_OVERHEAD;
    if (size > this.#maxSize) {
      this.#evictTo(0);
      return false;
    }
    this.#evictTo(this.#maxSize - size);
    const length = nameLength + valueLength + LINE_EXTRA;
    this.#makeRoom(length);
    const start = this.#end;
    const bytes = this.bytes;
    let at = start;
    for (let i = 0; i < nameLength; i++) bytes[at++] = names[nameStart + i]!;
    bytes[at++] = COLON;
    bytes[at++] = SPACE;
    if (valueLength > 64) {
      bytes.set(values.subarray(valueStart, valueStart + valueLength), at);
      at += valueLength;
    } else {
      for (let i = 0; i < valueLength; i++) bytes[at++] = values[valueStart + i]!;
    }
    bytes[at++] = CR;
    bytes[at++] = LF;
    this.#end = at;
    if (this.#count > this.#mask || this.#slots.length === 0) this.#growSlots();
    const slot = (this.#inserted & this.#mask) * SLOT;
    const slots = this.#slots;
    slots[slot] = start;
    slots[slot + 1] = nameLength;
    slots[slot + 2] = valueLength;
    slots[slot + 3] = tag;
    this.#inserted++;
    this.#count++;
    this.#size += size;
    return true;
  }

  #slot(number: number): number {
    return ((this.#inserted - 1 - number) & this.#mask) * SLOT;
  }

  #evictTo(size: number): void {
    while (this.#size > size) {
      const slot = this.#slot(this.#count - 1);
      this.#size -= this.#slots[slot + 1]! + this.#slots[slot + 2]! + ENTRY_OVERHEAD;
      this.#count--;
    }
    if (this.#count === 0) this.#end = 0;
  }

  #makeRoom(length: number): void {
    if (this.bytes.length - this.#end >= length) return;
    const first = this.#count === 0 ? this.#end : this.start(this.#count - 1);
    const live = this.#end - first;
    const most = this.#maxSize * 2;
    let next = this.bytes;
    // Half of the buffer may be dead before it is worth moving; else it is too small.
    if ((live + length) * 2 > next.length) {
      next = new Uint8Array(
        Math.min(most, Math.max(FIRST_BYTES, next.length * 2, (live + length) * 2)),
      );
    }
    next.set(this.bytes.subarray(first, this.#end));
    this.bytes = next;
    this.#end = live;
    for (let i = 0; i < this.#count; i++) this.#slots[this.#slot(i)]! -= first;
  }

  #growSlots(): void {
    const slots = Math.max(FIRST_SLOTS, (this.#slots.length / SLOT) * 2);
    const next = new Int32Array(slots * SLOT);
    for (let i = 0; i < this.#count; i++) {
      const from = this.#slot(i);
      const to = ((this.#inserted - 1 - i) & (slots - 1)) * SLOT;
      for (let k = 0; k < SLOT; k++) next[to + k] = this.#slots[from + k]!;
    }
    this.#slots = next;
    this.#mask = slots - 1;
  }
}
