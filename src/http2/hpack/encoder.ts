/**
 * Fields to field blocks (RFC 7541 §6).
 *
 * Takes `name: value CRLF` lines, which is what `Fields.writeTo` writes: one copy of untouched bytes, no
 * strings. What was sent before is found by a hash of the bytes in a small table that forgets; a wrong find is
 * ruled out by comparing, a missed one costs a few bytes on the wire.
 *
 * @module
 */
import type { Fields } from "../../http/fields.ts";
import {
  AUTHORIZATION,
  CONTENT_LENGTH,
  CONTENT_RANGE,
  COOKIE,
  fieldIdOf,
  PROXY_AUTHORIZATION,
  SET_COOKIE,
} from "../../http/field_names.ts";
import { DEFAULT_TABLE_BYTES } from "../constants.ts";
import { DynamicTable, ENTRY_OVERHEAD } from "./dynamic_table.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";
import { writeInteger } from "./integer.ts";
import {
  STATIC_BYTES,
  STATIC_COUNT,
  STATIC_NAME,
  STATIC_START,
  STATIC_TABLE,
  STATIC_VALUE,
} from "./static_table.ts";

// How a field is put in (RFC 7541 §6.2): the last one also binds everybody on the way.
export const INDEX = 0;
export const PLAIN = 1;
export const NEVER = 2;

/** A cookie shorter than this could be guessed byte by byte from the length of blocks (RFC 7541 §7.1.3). */
const GUESSABLE_COOKIE = 20;
/** More than the entries of a table of the usual size. */
const CACHE = 128;
const STATIC_CACHE = 256;
const COLON = 58;
const SPACE = 32;
const HTAB = 9;
const CR = 13;

/** What an {@linkcode HpackEncoder} may do. */
export interface EncoderOptions {
  /** Most bytes of the dynamic table, whatever the other side allows. Default 4096. */
  readonly tableBytes?: number;
  /** Whether strings are Huffman coded where that is shorter. Default `true`. */
  readonly huffman?: boolean;
}

/** Static entries by the hash of their name: first index of that name. */
const STATIC_NAMES = new Uint8Array(STATIC_CACHE);
for (let i = STATIC_COUNT; i > 0; i--) {
  const start = STATIC_START[i]!;
  const hash = hashOf(STATIC_BYTES, start, start + STATIC_NAME[i]!, 0);
  let slot = hash & STATIC_CACHE - 1;
  while (
    STATIC_NAMES[slot] !== 0 && STATIC_TABLE[STATIC_NAMES[slot]!]![0] !== STATIC_TABLE[i]![0]
  ) {
    slot = (slot + 1) & STATIC_CACHE - 1;
  }
  STATIC_NAMES[slot] = i;
}

const PLAIN_NAMES = [":path", "age", "etag", "if-modified-since", "if-none-match", "last-modified"]
  .concat(["location", "x-request-id", "traceparent"]);
/** Names whose values hardly come twice, by hash and then letter by letter. */
const PLAIN_BY_HASH = new Map<number, Uint8Array>();
for (const name of PLAIN_NAMES) {
  const bytes = new TextEncoder().encode(name);
  PLAIN_BY_HASH.set(hashOf(bytes, 0, bytes.length, 0), bytes);
}

/** Where the lines lie that are being encoded. One for all encoders: nothing stays in it. */
let scratch: Uint8Array = new Uint8Array(4096);

function reserveLines(length: number): Uint8Array {
  if (scratch.length < length) scratch = new Uint8Array(Math.max(length, scratch.length * 2));
  return scratch;
}

/** Encodes the field blocks of one connection, in order. */
export class HpackEncoder {
  readonly #own: number;
  readonly #huffman: boolean;
  readonly #table: DynamicTable;
  /** Insertion number plus one, modulo 2^32, by hash of name, and by hash of name and value. */
  readonly #byName = new Uint32Array(CACHE);
  readonly #byField = new Uint32Array(CACHE);
  /** The smallest size since the last block, which must be told first; `-1` if nothing changed. */
  #smallest = -1;

  constructor(options: EncoderOptions = {}) {
    this.#own = options.tableBytes ?? DEFAULT_TABLE_BYTES;
    this.#huffman = options.huffman ?? true;
    this.#table = new DynamicTable(DEFAULT_TABLE_BYTES);
    if (this.#own < DEFAULT_TABLE_BYTES) this.setPeerTableLimit(DEFAULT_TABLE_BYTES);
  }

  /** The dynamic table, to be looked at. */
  get table(): DynamicTable {
    return this.#table;
  }

  /** Takes the other side's SETTINGS_HEADER_TABLE_SIZE; the next block tells it what came of it. */
  setPeerTableLimit(bytes: number): void {
    const size = Math.min(bytes, this.#own);
    if (size === this.#table.maxSize) return;
    this.#smallest = this.#smallest < 0 ? size : Math.min(this.#smallest, size);
    this.#table.resize(size);
  }

  /** Room that `begin` needs at most. */
  static readonly BEGIN_BYTES = 12;

  /** Begins a block: writes the size updates that are due (RFC 7541 §4.2). */
  begin(out: Uint8Array, position: number): number {
    if (this.#smallest < 0) return position;
    if (this.#smallest < this.#table.maxSize) {
      position = writeInteger(out, position, 32, 5, this.#smallest);
    }
    this.#smallest = -1;
    return writeInteger(out, position, 32, 5, this.#table.maxSize);
  }

  /** Room that a field needs at most. */
  static fieldBound(nameLength: number, valueLength: number): number {
    return nameLength + valueLength + 13;
  }

  /** Room that `fields` needs at most. */
  static fieldsBound(fields: Fields): number {
    return fields.byteLength + fields.size * 9;
  }

  /**
   * Writes one field, pseudo-field or not. Name and value are latin-1; the name is lower case.
   *
   * @param how {@linkcode INDEX}, {@linkcode PLAIN} or {@linkcode NEVER}; default: what suits the field.
   */
  field(out: Uint8Array, position: number, name: string, value: string, how: number = -1): number {
    const length = name.length + value.length;
    const lines = reserveLines(length);
    for (let i = 0; i < name.length; i++) lines[i] = name.charCodeAt(i);
    for (let i = 0; i < value.length; i++) lines[name.length + i] = value.charCodeAt(i);
    return this.#write(out, position, lines, 0, name.length, lines, name.length, length, how);
  }

  /**
   * Writes all fields, names in lower case. The caller has removed those of one connection (RFC 9113 §8.2.2).
   *
   * @param neverIndexed Entries that came as never indexed and must stay so (RFC 7541 §6.2.3), in order.
   */
  fields(
    out: Uint8Array,
    position: number,
    fields: Fields,
    neverIndexed: readonly number[] | null = null,
  ): number {
    const lines = reserveLines(fields.byteLength);
    const end = fields.writeTo(lines, 0);
    let at = 0;
    let entry = -1;
    let never = 0;
    while (at < end) {
      // Removed entries leave no line but keep their number.
      do entry++; while (entry < fields.entries && fields.idAt(entry) < 0);
      const nameStart = at;
      let upper = 0;
      while (lines[at] !== COLON) {
        const c = lines[at++]!;
        if (c >= 65 && c <= 90) upper = 1;
      }
      const nameLength = at - nameStart;
      at++;
      while (lines[at] === SPACE || lines[at] === HTAB) at++;
      const valueStart = at;
      while (lines[at] !== CR) at++;
      let valueEnd = at;
      while (
        valueEnd > valueStart && (lines[valueEnd - 1] === SPACE || lines[valueEnd - 1] === HTAB)
      ) valueEnd--;
      at += 2;
      if (upper === 1) lower(lines, nameStart, nameStart + nameLength);
      let how = -1;
      if (neverIndexed !== null) {
        while (never < neverIndexed.length && neverIndexed[never]! < entry) never++;
        if (neverIndexed[never] === entry) how = NEVER;
      }
      position = this.#write(
        out,
        position,
        lines,
        nameStart,
        nameLength,
        lines,
        valueStart,
        valueEnd,
        how,
      );
    }
    return position;
  }

  #write(
    out: Uint8Array,
    position: number,
    names: Uint8Array,
    nameStart: number,
    nameLength: number,
    values: Uint8Array,
    valueStart: number,
    valueEnd: number,
    how: number,
  ): number {
    const nameEnd = nameStart + nameLength;
    const valueLength = valueEnd - valueStart;
    const nameHash = hashOf(names, nameStart, nameEnd, 0);
    if (how < 0) how = policy(names, nameStart, nameEnd, nameHash, valueLength);

    let nameIndex = staticName(names, nameStart, nameLength, nameHash);
    if (nameIndex > 0 && how !== NEVER) {
      for (let i = nameIndex; i <= STATIC_COUNT; i++) {
        if (i > nameIndex && !sameStaticName(i, nameIndex)) break;
        if (STATIC_VALUE[i] !== valueLength) continue;
        const at = STATIC_START[i]! + nameLength + 2;
        if (same(STATIC_BYTES, at, values, valueStart, valueLength)) {
          return writeInteger(out, position, 128, 7, i);
        }
      }
    }
    const table = this.#table;
    const fieldHash = how === INDEX ? hashOf(values, valueStart, valueEnd, nameHash) : 0;
    if (how === INDEX) {
      const number = (table.inserted - this.#byField[fieldHash & CACHE - 1]!) >>> 0;
      if (
        number < table.count && table.nameLength(number) === nameLength &&
        table.valueLength(number) === valueLength &&
        same(table.bytes, table.start(number), names, nameStart, nameLength) &&
        same(
          table.bytes,
          table.start(number) + nameLength + 2,
          values,
          valueStart,
          valueLength,
        )
      ) return writeInteger(out, position, 128, 7, STATIC_COUNT + 1 + number);
    }
    if (nameIndex === 0) {
      const number = (table.inserted - this.#byName[nameHash & CACHE - 1]!) >>> 0;
      if (
        number < table.count && table.nameLength(number) === nameLength &&
        same(table.bytes, table.start(number), names, nameStart, nameLength)
      ) nameIndex = STATIC_COUNT + 1 + number;
    }
    // A field of more than three quarters of the table would only push out everything else.
    const fits = (nameLength + valueLength + ENTRY_OVERHEAD) * 4 <= table.maxSize * 3;
    if (how === INDEX && !fits) how = PLAIN;
    position = how === INDEX
      ? writeInteger(out, position, 64, 6, nameIndex)
      : writeInteger(out, position, how === NEVER ? 16 : 0, 4, nameIndex);
    if (nameIndex === 0) position = this.#string(out, position, names, nameStart, nameEnd);
    position = this.#string(out, position, values, valueStart, valueEnd);
    if (how === INDEX) {
      table.insert(names, nameStart, nameLength, values, valueStart, valueLength, 0);
      this.#byName[nameHash & CACHE - 1] = table.inserted;
      this.#byField[fieldHash & CACHE - 1] = table.inserted;
    }
    return position;
  }

  #string(
    out: Uint8Array,
    position: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    const length = end - start;
    if (this.#huffman) {
      const coded = huffmanLength(bytes, start, end);
      if (coded <= length && length > 0) {
        position = writeInteger(out, position, 128, 7, coded);
        return encodeHuffman(bytes, start, end, out, position);
      }
    }
    position = writeInteger(out, position, 0, 7, length);
    if (length > 64) out.set(bytes.subarray(start, end), position);
    else for (let i = 0; i < length; i++) out[position + i] = bytes[start + i]!;
    return position + length;
  }
}

function policy(
  names: Uint8Array,
  start: number,
  end: number,
  hash: number,
  valueLength: number,
): number {
  switch (fieldIdOf(names, start, end)) {
    case AUTHORIZATION:
    case PROXY_AUTHORIZATION:
    case SET_COOKIE:
      return NEVER;
    case COOKIE:
      return valueLength < GUESSABLE_COOKIE ? NEVER : INDEX;
    case CONTENT_LENGTH:
    case CONTENT_RANGE:
      return PLAIN;
  }
  const plain = PLAIN_BY_HASH.get(hash);
  return plain !== undefined && plain.length === end - start &&
      same(plain, 0, names, start, plain.length)
    ? PLAIN
    : INDEX;
}

function staticName(names: Uint8Array, start: number, length: number, hash: number): number {
  let slot = hash & STATIC_CACHE - 1;
  for (;;) {
    const index = STATIC_NAMES[slot]!;
    if (index === 0) return 0;
    if (
      STATIC_NAME[index] === length &&
      same(STATIC_BYTES, STATIC_START[index]!, names, start, length)
    ) return index;
    slot = (slot + 1) & STATIC_CACHE - 1;
  }
}

function sameStaticName(a: number, b: number): boolean {
  return STATIC_TABLE[a]![0] === STATIC_TABLE[b]![0];
}

function same(
  a: Uint8Array,
  aStart: number,
  b: Uint8Array,
  bStart: number,
  length: number,
): boolean {
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}

function lower(bytes: Uint8Array, start: number, end: number): void {
  for (let i = start; i < end; i++) {
    const c = bytes[i]!;
    if (c >= 65 && c <= 90) bytes[i] = c | 32;
  }
}

function hashOf(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed ^ (end - start);
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return (hash ^ hash >>> 15) >>> 0;
}
