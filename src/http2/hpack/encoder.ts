/**
 * Fields to field blocks (RFC 7541 §6).
 *
 * Takes fields from where they lie: no strings, no copy. Most of what is sent was sent before, with the same value as
 * the last time, so that is looked at first; else it is found by a hash of the bytes in a small table that forgets. A
 * wrong find is ruled out by comparing, a missed one costs a few bytes on the wire.
 *
 * @module
 */
import { sameBytes } from "../../base/bytes.ts";
import { ENTRY } from "../../http/field_index.ts";
import type { Fields } from "../../http/fields.ts";
import {
  AUTHORIZATION,
  CONTENT_LENGTH,
  CONTENT_RANGE,
  COOKIE,
  FIELD_NAMES,
  fieldIdOf,
  PROXY_AUTHORIZATION,
  SET_COOKIE,
  UNKNOWN,
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
const SPACE = 32;
const HTAB = 9;
const HASH_PRIME = 0x01000193;
/** What makes a letter lower case. */
const FOLD = 32;
const BLANK_AROUND = /^[\t ]+|[\t ]+$/g;

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

// Names that have an id: bytes, where they begin, hash, and first static index of that name.
const KNOWN_BYTES = new TextEncoder().encode(FIELD_NAMES.join(""));
const KNOWN_START = new Uint16Array(FIELD_NAMES.length + 1);
const KNOWN_HASH = new Uint32Array(FIELD_NAMES.length);
const KNOWN_STATIC = new Uint8Array(FIELD_NAMES.length);
FIELD_NAMES.forEach((name, id) => {
  const start = KNOWN_START[id]!;
  KNOWN_START[id + 1] = start + name.length;
  if (id === UNKNOWN) return;
  KNOWN_HASH[id] = hashOf(KNOWN_BYTES, start, start + name.length, 0);
  KNOWN_STATIC[id] = staticName(KNOWN_BYTES, start, name.length, KNOWN_HASH[id]!);
});

const NOTHING_SKIPPED = new Uint8Array(FIELD_NAMES.length);

/** Where text lies that is being encoded, and a name that is not known. One for all encoders: nothing stays in it. */
let scratch: Uint8Array = new Uint8Array(4096);
let lowered: Uint8Array = new Uint8Array(64);

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
   * Writes one field, pseudo-field or not, as it is. Name and value are latin-1; the name is to be lower case.
   *
   * @param how {@linkcode INDEX}, {@linkcode PLAIN} or {@linkcode NEVER}; default: what suits the field.
   */
  field(out: Uint8Array, position: number, name: string, value: string, how: number = -1): number {
    const lines = reserveLines(name.length + value.length);
    const middle = writeText(lines, 0, name);
    const end = writeText(lines, middle, value);
    const id = fieldIdOf(lines, 0, middle);
    return FIELD_NAMES[id] === name
      ? this.#known(out, position, id, lines, middle, end, how)
      : this.#unknown(out, position, lines, 0, middle, 0, lines, middle, end, how);
  }

  /** Writes a field that stands in the static table with its value (RFC 7541 Appendix A). */
  static(out: Uint8Array, position: number, index: number): number {
    out[position] = 128 | index;
    return position + 1;
  }

  /**
   * Writes all fields, names in lower case.
   *
   * @param skipped `1` at the id of every field that is left out: those of one connection (RFC 9113 §8.2.2). Default:
   * none.
   */
  fields(
    out: Uint8Array,
    position: number,
    fields: Fields,
    skipped: Uint8Array = NOTHING_SKIPPED,
  ): number {
    const { added, addedIds, bytes, entries, index, neverIndexed } = fields;
    let never = 0;
    for (let entry = 0; entry < entries; entry++) {
      const at = entry * ENTRY;
      const id = index![at + 4]!;
      // Removed entries leave no line but keep their number.
      if (id < 0 || skipped[id] === 1) continue;
      let how = -1;
      if (neverIndexed !== null) {
        while (never < neverIndexed.length && neverIndexed[never]! < entry) never++;
        if (neverIndexed[never] === entry) how = NEVER;
      }
      let values = bytes;
      let start = index![at + 2]!;
      let end = index![at + 3]!;
      const replaced = fields.replacedAt(entry);
      if (replaced !== undefined) {
        values = reserveLines(replaced.length);
        start = 0;
        end = writeText(values, 0, replaced);
      }
      while (start < end && isBlank(values[start]!)) start++;
      while (start < end && isBlank(values[end - 1]!)) end--;
      if (id === UNKNOWN) {
        const name = index![at]!;
        const colon = index![at + 1]!;
        position = this.#unknown(out, position, bytes, name, colon, FOLD, values, start, end, how);
      } else position = this.#known(out, position, id, values, start, end, how);
    }
    if (added === null) return position;
    for (let i = 0; i < addedIds!.length; i++) {
      const id = addedIds![i]!;
      if (skipped[id] === 1) continue;
      const value = added[2 * i + 1]!.replace(BLANK_AROUND, "");
      position = id === UNKNOWN
        ? this.field(out, position, added[2 * i]!.toLowerCase(), value)
        : this.text(out, position, id, value);
    }
    return position;
  }

  /** Writes one field by its id. The value is latin-1. */
  text(out: Uint8Array, position: number, id: number, value: string): number {
    const lines = reserveLines(value.length);
    return this.#known(out, position, id, lines, 0, writeText(lines, 0, value), -1);
  }

  #known(
    out: Uint8Array,
    position: number,
    id: number,
    values: Uint8Array,
    valueStart: number,
    valueEnd: number,
    how: number,
  ): number {
    const start = KNOWN_START[id]!;
    return this.#write(
      out,
      position,
      id,
      KNOWN_HASH[id]!,
      KNOWN_BYTES,
      start,
      KNOWN_START[id + 1]! - start,
      values,
      valueStart,
      valueEnd,
      how,
    );
  }

  #unknown(
    out: Uint8Array,
    position: number,
    names: Uint8Array,
    nameStart: number,
    nameEnd: number,
    fold: number,
    values: Uint8Array,
    valueStart: number,
    valueEnd: number,
    how: number,
  ): number {
    const length = nameEnd - nameStart;
    if (lowered.length < length) lowered = new Uint8Array(length * 2);
    const to = lowered;
    let hash = length;
    for (let i = 0; i < length; i++) {
      const c = names[nameStart + i]!;
      const byte = c >= 65 && c <= 90 ? c | fold : c;
      to[i] = byte;
      hash = Math.imul(hash ^ byte, HASH_PRIME);
    }
    hash = (hash ^ hash >>> 15) >>> 0;
    return this.#write(
      out,
      position,
      UNKNOWN,
      hash,
      to,
      0,
      length,
      values,
      valueStart,
      valueEnd,
      how,
    );
  }

  #write(
    out: Uint8Array,
    position: number,
    id: number,
    nameHash: number,
    names: Uint8Array,
    nameStart: number,
    nameLength: number,
    values: Uint8Array,
    valueStart: number,
    valueEnd: number,
    how: number,
  ): number {
    const valueLength = valueEnd - valueStart;
    const table = this.#table;
    const nameSlot = nameHash & CACHE - 1;
    const last = (table.inserted - this.#byName[nameSlot]!) >>> 0;
    const named = last < table.count && table.tag(last) === id &&
      (id !== UNKNOWN || table.hasName(last, names, nameStart, nameLength));
    // What is in the table is there because its field may be: nothing else has to be known of it.
    if (named && how <= INDEX && table.hasValue(last, values, valueStart, valueLength)) {
      return writeInteger(out, position, 128, 7, STATIC_COUNT + 1 + last);
    }
    if (how < 0) how = policy(id, names, nameStart, nameLength, nameHash, valueLength);

    let nameIndex = id === UNKNOWN
      ? staticName(names, nameStart, nameLength, nameHash)
      : KNOWN_STATIC[id]!;
    if (nameIndex > 0 && how !== NEVER) {
      for (let i = nameIndex; i <= STATIC_COUNT; i++) {
        if (i > nameIndex && !sameStaticName(i, nameIndex)) break;
        if (STATIC_VALUE[i] !== valueLength) continue;
        const at = STATIC_START[i]! + nameLength + 2;
        if (sameBytes(STATIC_BYTES, at, values, valueStart, valueLength)) {
          return writeInteger(out, position, 128, 7, i);
        }
      }
    }
    const fieldSlot = how === INDEX
      ? hashOf(values, valueStart, valueEnd, nameHash) & CACHE - 1
      : 0;
    if (how === INDEX) {
      const number = (table.inserted - this.#byField[fieldSlot]!) >>> 0;
      if (
        number < table.count && table.hasName(number, names, nameStart, nameLength) &&
        table.hasValue(number, values, valueStart, valueLength)
      ) return writeInteger(out, position, 128, 7, STATIC_COUNT + 1 + number);
    }
    if (nameIndex === 0 && named) nameIndex = STATIC_COUNT + 1 + last;
    // A field of more than three quarters of the table would only push out everything else.
    const fits = (nameLength + valueLength + ENTRY_OVERHEAD) * 4 <= table.maxSize * 3;
    if (how === INDEX && !fits) how = PLAIN;
    position = how === INDEX
      ? writeInteger(out, position, 64, 6, nameIndex)
      : writeInteger(out, position, how === NEVER ? 16 : 0, 4, nameIndex);
    if (nameIndex === 0) {
      position = this.#string(out, position, names, nameStart, nameStart + nameLength);
    }
    position = this.#string(out, position, values, valueStart, valueEnd);
    if (how === INDEX) {
      table.insert(names, nameStart, nameLength, values, valueStart, valueLength, id);
      this.#byName[nameSlot] = table.inserted;
      this.#byField[fieldSlot] = table.inserted;
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
  id: number,
  names: Uint8Array,
  start: number,
  length: number,
  hash: number,
  valueLength: number,
): number {
  switch (id) {
    case UNKNOWN:
      break;
    case AUTHORIZATION:
    case PROXY_AUTHORIZATION:
    case SET_COOKIE:
      return NEVER;
    case COOKIE:
      return valueLength < GUESSABLE_COOKIE ? NEVER : INDEX;
    case CONTENT_LENGTH:
    case CONTENT_RANGE:
      return PLAIN;
    default:
      return INDEX;
  }
  const plain = PLAIN_BY_HASH.get(hash);
  return plain !== undefined && plain.length === length && sameBytes(plain, 0, names, start, length)
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
      sameBytes(STATIC_BYTES, STATIC_START[index]!, names, start, length)
    ) return index;
    slot = (slot + 1) & STATIC_CACHE - 1;
  }
}

function sameStaticName(a: number, b: number): boolean {
  return STATIC_TABLE[a]![0] === STATIC_TABLE[b]![0];
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === HTAB;
}

function writeText(out: Uint8Array, position: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[position++] = text.charCodeAt(i);
  return position;
}

function hashOf(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed ^ (end - start);
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, HASH_PRIME);
  return (hash ^ hash >>> 15) >>> 0;
}
